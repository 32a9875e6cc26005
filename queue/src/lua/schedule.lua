#!lua
-- Enqueues a job for later, unless the queue is full.
--
-- KEYS 1 payloads (HASH)  2 delayed (ZSET)
--      3-5 streams: normal, high, low, and 6 blocked (ZSET), of a queue with a limit only
-- ARGV 1 job id  2 envelope  3 'in' or 'at'  4 ms from now, or of the Unix epoch
--      5 the limit: most jobs that may be ready, running, blocked or delayed
-- Returns 1, or 0 when the queue is full.
--
-- Invariant: stopping between the writes leaves an index without a payload, which
-- the tick drops; a payload without an index would stay for ever.
-- include room.lua
if KEYS[3] and unfinished(3, KEYS[2], KEYS[6]) >= tonumber(ARGV[5]) then
  return 0
end
local due = tonumber(ARGV[4])
if ARGV[3] == 'in' then
  local time = redis.call('TIME')
  due = due + time[1] * 1000 + math.floor(time[2] / 1000)
end
redis.call('ZADD', KEYS[2], due, ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
