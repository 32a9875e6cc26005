#!lua
-- Takes one job over from the outbox, unless it has been taken already.
--
-- KEYS 1 stream  2 payloads (HASH)  3 delayed (ZSET)  4 once marker (STRING)
-- ARGV 1 job id  2 envelope  3 due time in ms of the Unix epoch, or '' for now
--      4 time to live of the marker in ms, from the due time on
-- Returns 1, or 0 when the job is known.
--
-- Invariant: the payload follows its index, and the marker comes last: a job is
-- not known before it is complete. Stopping before that can double it, which the
-- once-token in Postgres absorbs, but never lose it.
if redis.call('EXISTS', KEYS[4]) == 1 or redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = tonumber(ARGV[3])
local keep = tonumber(ARGV[4])
if due and due > now then
  redis.call('ZADD', KEYS[3], due, ARGV[1])
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
  -- At most ten years more: Redis refuses what its clock cannot count to.
  keep = keep + math.min(due - now, 315360000000)
else
  redis.call('XADD', KEYS[1], '*', 'e', ARGV[2])
end
redis.call('SET', KEYS[4], '1', 'PX', string.format('%.0f', keep))
return 1
