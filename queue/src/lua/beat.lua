#!lua flags=allow-oom
-- Renews a consumer's lease.
--
-- KEYS 1 alive (ZSET)  2 meta (HASH)
-- ARGV 1 consumer  2 lease in ms
--      3 life that the last beat told, or '' for the first of this consumer
-- Returns {verdict, number of consumers, life}; the verdict is
--   1 the lease is renewed, even a late one: nobody has touched its jobs
--   0 the consumer was declared dead, and others may own its jobs
--   2 Redis has lost its data; the consumer is registered anew
--
-- Invariant: a consumer that reclaim has begun to take from is not in `alive`,
-- and is never put back. The life names the data: it is another one when they
-- were lost, and then no consumer was declared dead, however many are missing.
--
-- Who lives beats every quarter of a lease, so half a lease without any beat
-- means that Redis or everybody was away. It grants all another half, time for
-- two beats, because their leases have run on meanwhile. A clock that was set back
-- has made them longer by as much, so none may end later than one given now.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = tonumber(ARGV[2])
local life = redis.call('HGET', KEYS[2], 'life')
local verdict = 1
if ARGV[3] ~= '' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  if ARGV[3] == life then
    return {0, redis.call('ZCARD', KEYS[1]), life}
  end
  verdict = 2
end
if not life then
  life = ARGV[1] .. '@' .. string.format('%.0f', now)
  redis.call('HSET', KEYS[2], 'life', life)
end
local gap = now - tonumber(redis.call('HGET', KEYS[2], 'beat') or 0)
if gap > lease / 2 or gap < 0 then
  redis.call('HSET', KEYS[2], 'grace', string.format('%.0f', now + lease / 2))
end
if gap < 0 then
  local latest = string.format('%.0f', now + lease)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. latest, '+inf')) do
    redis.call('ZADD', KEYS[1], latest, name)
  end
end
redis.call('HSET', KEYS[2], 'beat', now)
redis.call('ZADD', KEYS[1], now + lease, ARGV[1])
return {verdict, redis.call('ZCARD', KEYS[1]), life}
