#!lua
-- Enqueues a job for later.
--
-- KEYS 1 payloads (HASH)  2 delayed (ZSET)
-- ARGV 1 job id  2 envelope  3 'in' or 'at'  4 ms from now, or of the Unix epoch
-- Returns the due time in ms of the server's clock.
--
-- Invariant: stopping between the writes leaves an index without a payload, which
-- the tick drops; a payload without an index would stay for ever.
local due = tonumber(ARGV[4])
if ARGV[3] == 'in' then
  local time = redis.call('TIME')
  due = due + time[1] * 1000 + math.floor(time[2] / 1000)
end
redis.call('ZADD', KEYS[2], due, ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return due
