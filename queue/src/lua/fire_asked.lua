#!lua
-- Fires the slot of a schedule that somebody has asked for.
--
-- KEYS 1-3 streams: normal, high, low  4 cron (ZSET)  5 cronspec (HASH)
-- ARGV 1 name  2 the caller's rule  3 the slot (ms)  4 envelope, unless there is no job
-- Returns 1, or 0 when another was first, or another rule is in force, or it is too soon.
--
-- Invariant: the job is in the stream before what asked for it is gone: stopping between
-- the two repeats it with the same id. It does not go within its own millisecond, in
-- which the next one could be asked for that would then have its id. The schedule's own
-- slots stay as they are. No allow-oom: without memory it waits.
-- include streams.lua
local member = '!' .. ARGV[1]
local slot = tonumber(redis.call('ZSCORE', KEYS[4], member) or -1)
local stored = redis.call('HGET', KEYS[5], ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if slot ~= tonumber(ARGV[3]) or now <= slot then
  return 0
end
if not stored or string.match(stored, '^%d+ %d+ (.*)$') ~= ARGV[2] then
  return 0
end
if ARGV[4] then
  redis.call('XADD', stream_of(ARGV[4]), '*', 'e', ARGV[4])
end
redis.call('ZREM', KEYS[4], member)
return 1
