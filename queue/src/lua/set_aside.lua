#!lua flags=allow-oom
-- Moves one entry that the caller owns out of the stream, to run later or to
-- wait for a worker that knows it.
--
-- KEYS 1 stream  2 payloads (HASH)  3 index (ZSET): delayed or parked
--      4.. what the job holds, as release.lua says
-- ARGV 1 consumer  2 entry id  3 job id  4 envelope  5 member of the index
--      6 what the job holds  7 delay in ms from now, or '' for score 0
--      8 time to live of a lock in ms, from then on; without a delay it has no end
-- Returns 1, or 0 when the consumer does not own the entry (any more).
--
-- Invariant: the job is in the index, and then its payload there, before it leaves
-- the stream, so stopping after any write loses nothing, and leaves no payload
-- that no index names; a repeat after a lost reply changes nothing.
-- include keep.lua
if #redis.call('XPENDING', KEYS[1], 'g', ARGV[2], ARGV[2], 1, ARGV[1]) == 0 then
  return 0
end
local delay = tonumber(ARGV[7])
local score = 0
if delay then
  local time = redis.call('TIME')
  score = time[1] * 1000 + math.floor(time[2] / 1000) + delay
end
redis.call('ZADD', KEYS[3], score, ARGV[5])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
keep(ARGV[6], 4, ARGV[3], delay, ARGV[8])
redis.call('XDEL', KEYS[1], ARGV[2])
redis.call('XACK', KEYS[1], 'g', ARGV[2])
return 1
