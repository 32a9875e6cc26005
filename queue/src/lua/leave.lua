#!lua flags=allow-oom
-- Ends a consumer. What it still holds is up for reclaim at once.
--
-- KEYS 1 alive (ZSET)  2.. streams
-- ARGV 1 consumer
-- Returns how many of the streams it left entries behind in.
--
-- Invariant: a consumer with pending entries is never deleted, because Redis
-- would forget them in silence.
redis.call('ZREM', KEYS[1], ARGV[1])
local left = 0
for i = 2, #KEYS do
  local pending = redis.pcall('XPENDING', KEYS[i], 'g', '-', '+', 1, ARGV[1])
  if #pending > 0 then
    left = left + 1
  elseif not pending.err then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[i], 'g', ARGV[1])
  end
end
return left
