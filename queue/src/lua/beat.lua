#!lua flags=allow-oom
-- Renews a consumer's lease.
--
-- KEYS 1 alive (ZSET)  2 meta (HASH)
-- ARGV 1 consumer  2 lease in ms  3 '1' for the first beat of this consumer
-- Returns {verdict, number of consumers}; the verdict is
--   1 the lease is renewed, even a late one: nobody has touched its jobs
--   0 the consumer was declared dead, and others may own its jobs
--   2 Redis has lost its data; the consumer is registered anew
--
-- Invariant: a consumer that reclaim has begun to take from is not in `alive`,
-- and is never put back. A gap in the beats longer than the lease means that
-- Redis or everybody was away: it grants all leases one more term.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = tonumber(ARGV[2])
local last = redis.call('HGET', KEYS[2], 'beat')
local verdict = 1
if ARGV[3] ~= '1' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  if last then
    return {0, redis.call('ZCARD', KEYS[1])}
  end
  verdict = 2
end
if not last or now - tonumber(last) > lease then
  redis.call('HSET', KEYS[2], 'grace', now + lease)
end
redis.call('HSET', KEYS[2], 'beat', now)
redis.call('ZADD', KEYS[1], now + lease, ARGV[1])
return {verdict, redis.call('ZCARD', KEYS[1])}
