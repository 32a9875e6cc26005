#!lua
-- Enqueues a job, unless another one holds its key, or the queue is full.
--
-- KEYS 1-3 streams: normal, high, low  4 payloads (HASH)  5 delayed (ZSET)
--      6 lock (STRING)  7 blocked (ZSET)  8 the job that is kept (HASH)  9 meta (HASH)
-- ARGV 1 job id  2 envelope  3 'now', 'in' or 'at'  4 ms from now, or of the Unix epoch
--      5 time to live of the lock in ms, from the job's time on
--      6 most jobs that may be ready, running, blocked or delayed, of a queue with a limit only
-- Returns nothing, the id of the job that holds the key, or 0 when the queue is full.
--
-- Invariant: the lock is written behind the job. Stopping before it can let another job
-- with this key in, but a key that is held without a job would keep all out. A job that is
-- kept for the end of one that has lost the key is older than this one: it is replaced, and
-- that is counted, when this one is there.
-- include streams.lua
-- include place.lua
-- include room.lua
local holder = redis.call('GET', KEYS[6])
if holder then
  -- Only a parked job's lock has no end. This one was parked, and is not any more.
  if redis.call('PTTL', KEYS[6]) == -1 and redis.call('HEXISTS', KEYS[4], holder) == 0 then
    redis.call('SET', KEYS[6], holder, 'PX', ARGV[5])
  end
  return holder
end
if ARGV[6] and unfinished(1, KEYS[5], KEYS[7]) >= tonumber(ARGV[6]) then
  return 0
end
local keep = place(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
redis.call('SET', KEYS[6], ARGV[1], 'PX', keep)
if redis.call('EXISTS', KEYS[8]) == 1 then
  redis.call('HINCRBY', KEYS[9], 'replaced', 1)
  redis.call('DEL', KEYS[8])
end
return false
