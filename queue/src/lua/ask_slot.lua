#!lua
-- Asks for a slot of a schedule now, beside those of its rule.
--
-- KEYS 1 cron (ZSET)  2 cronspec (HASH)
-- ARGV 1 name of the schedule
-- Returns the slot (ms), or nothing when there is no such schedule.
--
-- Invariant: what was asked for is the member `!NAME`, which no schedule can be called,
-- and there at most once: who asks again before it fires is told of the same slot.
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then
  return false
end
local member = '!' .. ARGV[1]
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], 'NX', time[1] * 1000 + math.floor(time[2] / 1000), member)
return tonumber(redis.call('ZSCORE', KEYS[1], member))
