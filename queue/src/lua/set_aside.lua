#!lua flags=allow-oom
-- Moves one entry that the caller owns out of the stream, to run later or to
-- wait for a worker that knows it.
--
-- KEYS 1 stream  2 payloads (HASH)  3 index (ZSET): delayed or parked
-- ARGV 1 consumer  2 entry id  3 job id  4 envelope  5 member of the index
--      6 delay in ms from now, or '' for score 0
-- Returns 1, or 0 when the consumer does not own the entry (any more).
--
-- Invariant: the job is in the index, and then its payload there, before it leaves
-- the stream, so stopping after any write loses nothing, and leaves no payload
-- that no index names; a repeat after a lost reply changes nothing.
if #redis.call('XPENDING', KEYS[1], 'g', ARGV[2], ARGV[2], 1, ARGV[1]) == 0 then
  return 0
end
local score = 0
if ARGV[6] ~= '' then
  local time = redis.call('TIME')
  score = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[6])
end
redis.call('ZADD', KEYS[3], score, ARGV[5])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
redis.call('XDEL', KEYS[1], ARGV[2])
redis.call('XACK', KEYS[1], 'g', ARGV[2])
return 1
