#!lua flags=allow-oom
-- Moves one entry that the caller owns out of the stream, to run later or to
-- wait for a worker that knows it.
--
-- KEYS 1 stream  2 payloads (HASH)  3 index (ZSET): delayed or parked
--      4 lock (STRING), of a unique job only
-- ARGV 1 consumer  2 entry id  3 job id  4 envelope  5 member of the index
--      6 delay in ms from now, or '' for score 0
--      7 time to live of the lock in ms, from then on; without a delay it has no end
-- Returns 1, or 0 when the consumer does not own the entry (any more).
--
-- Invariant: the job is in the index, and then its payload there, before it leaves
-- the stream, so stopping after any write loses nothing, and leaves no payload
-- that no index names; a repeat after a lost reply changes nothing.
-- A lock is never taken from another job; one that has expired is taken again.
if #redis.call('XPENDING', KEYS[1], 'g', ARGV[2], ARGV[2], 1, ARGV[1]) == 0 then
  return 0
end
local locks = KEYS[4] and (redis.call('GET', KEYS[4]) or ARGV[3]) == ARGV[3]
local delay = tonumber(ARGV[6])
local score = 0
if delay then
  local time = redis.call('TIME')
  score = time[1] * 1000 + math.floor(time[2] / 1000) + delay
end
redis.call('ZADD', KEYS[3], score, ARGV[5])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
if locks and delay then
  -- At most ten years more: Redis refuses what its clock cannot count to.
  local keep = ARGV[7] + math.min(delay, 315360000000)
  redis.call('SET', KEYS[4], ARGV[3], 'PX', string.format('%.0f', keep))
elseif locks then
  redis.call('SET', KEYS[4], ARGV[3])
end
redis.call('XDEL', KEYS[1], ARGV[2])
redis.call('XACK', KEYS[1], 'g', ARGV[2])
return 1
