#!lua
-- Fires slots of one schedule, and moves it on to the slot that comes then.
--
-- KEYS 1-3 streams: normal, high, low  4 cron (ZSET)  5 cronspec (HASH)
-- ARGV 1 name  2 the caller's rule  3 the slot that it found due (ms)
--      4 the slot that comes after those fired  5.. slot and envelope, oldest first
-- Returns 1, or 0 when another was first, or another rule is in force.
--
-- Invariant: only from the slot that is due to a later one, so no slot fires twice.
-- Each job is in the stream before the schedule moves past its slot: stopping after
-- any write loses none, and repeats at most one, with the same id. No allow-oom:
-- without memory the slots stay due, and are caught up with later.
-- include streams.lua
local due = redis.call('ZSCORE', KEYS[4], ARGV[1])
if not due or tonumber(due) ~= tonumber(ARGV[3]) then
  return 0
end
local stored = redis.call('HGET', KEYS[5], ARGV[1])
if not stored or string.match(stored, '^%d+ %d+ (.*)$') ~= ARGV[2] then
  return 0
end
for i = 5, #ARGV, 2 do
  redis.call('XADD', stream_of(ARGV[i + 1]), '*', 'e', ARGV[i + 1])
  redis.call('ZADD', KEYS[4], ARGV[i + 2] or ARGV[4], ARGV[1])
end
if #ARGV == 4 then
  redis.call('ZADD', KEYS[4], ARGV[4], ARGV[1])
end
return 1
