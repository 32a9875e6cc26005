#!lua flags=allow-oom
-- Makes one entry that the caller owns a dead letter, and trims the oldest ones.
--
-- KEYS 1 stream  2 dead letters (STREAM)  3 meta (HASH)  4 once marker (STRING)
-- ARGV 1 consumer  2 entry id  3 envelope  4 why  5 error  6 attempts
--      7 largest age in ms  8 largest number  9 once: '1', else '0'
-- Returns 1, or 0 when the consumer does not own the entry (any more).
--
-- Invariant: the letter is written before the entry leaves the stream. The marker
-- of a once-job lives as long as the letter, so that the outbox, which still has
-- the row, does not bring the job back meanwhile.
if #redis.call('XPENDING', KEYS[1], 'g', ARGV[2], ARGV[2], 1, ARGV[1]) == 0 then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('XADD', KEYS[2], '*', 'e', ARGV[3], 'why', ARGV[4], 'error', ARGV[5], 'n', ARGV[6])
if ARGV[9] == '1' then
  redis.call('SET', KEYS[4], '1', 'PX', ARGV[7])
end
redis.call('XDEL', KEYS[1], ARGV[2])
redis.call('XACK', KEYS[1], 'g', ARGV[2])
local oldest = math.max(now - tonumber(ARGV[7]), 0)
local trimmed = redis.call('XTRIM', KEYS[2], 'MINID', '~', string.format('%.0f', oldest))
trimmed = trimmed + redis.call('XTRIM', KEYS[2], 'MAXLEN', '~', ARGV[8])
if trimmed > 0 then
  redis.call('HINCRBY', KEYS[3], 'dead_trimmed', trimmed)
end
return 1
