#!lua flags=allow-oom
-- Trims dead letters that are too old, and the oldest of too many.
--
-- KEYS 1 dead letters (STREAM)  2 meta (HASH)
-- ARGV 1 largest age in ms  2 largest number, give or take a hundred
-- Returns how many were trimmed.
--
-- Invariant: each letter that is trimmed is counted.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest = math.max(now - tonumber(ARGV[1]), 0)
local trimmed = redis.call('XTRIM', KEYS[1], 'MINID', '=', string.format('%.0f', oldest))
trimmed = trimmed + redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[2])
if trimmed > 0 then
  redis.call('HINCRBY', KEYS[2], 'dead_trimmed', trimmed)
end
return trimmed
