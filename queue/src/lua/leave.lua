#!lua flags=allow-oom
-- Ends a consumer. What it still holds is up for reclaim at once.
--
-- KEYS 1 stream  2 alive (ZSET)
-- ARGV 1 consumer
-- Returns how many entries it left behind.
--
-- Invariant: a consumer with pending entries is never deleted, because Redis
-- would forget them in silence.
redis.call('ZREM', KEYS[2], ARGV[1])
local pending = redis.pcall('XPENDING', KEYS[1], 'g', '-', '+', 1, ARGV[1])
if pending.err then
  return 0
end
if #pending == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], 'g', ARGV[1])
end
return #pending
