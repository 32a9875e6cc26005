#!lua
-- Enqueues jobs of a batch: all of them, or none; and seals it, if these are the last.
--
-- KEYS 1 members (SET)  2 batch (HASH)  3-5 streams: normal, high, low  6 delayed (ZSET)
--      7 blocked (ZSET)
--      8 members of a batch to be (SET)  9 a batch to be (HASH), both of a new batch only
-- ARGV 1 envelope of the job that follows the batch, to seal it, or ''
--      2 most jobs that may be ready, running, blocked or delayed, or '' for any number
--      3 time to live of the batch in s, from now on  4.. job id and envelope of each job
-- Returns 1, 0 when there is not room for all, or -1 when there is no such batch (any
--   more), or all of its members have ended.
--
-- Invariant: a job is a member before it is in its stream. Who adds is the member '' until
-- the batch is sealed, and then leaves it as any member does: the last one calls what
-- follows. The keys have their time to live before they have their names, so one that is
-- left by a stop is taken over by the next batch. No allow-oom: a producer can wait.
-- include leave_batch.lua
-- include room.lua
-- include streams.lua
local jobs = (#ARGV - 3) / 2
if not KEYS[8] and redis.call('SCARD', KEYS[1]) == 0 then
  return -1
end
if jobs > 0 and ARGV[2] ~= '' and ARGV[2] - unfinished(3, KEYS[6], KEYS[7]) < jobs then
  return 0
end
if KEYS[8] and redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[9], 'total', 0)
  redis.call('EXPIRE', KEYS[9], ARGV[3])
  redis.call('RENAME', KEYS[9], KEYS[2])
  redis.call('SADD', KEYS[8], '')
  redis.call('EXPIRE', KEYS[8], ARGV[3])
  redis.call('RENAME', KEYS[8], KEYS[1])
end
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[3])
for i = 4, #ARGV, 2 do
  if redis.call('SADD', KEYS[1], ARGV[i]) == 1 then
    redis.call('HINCRBY', KEYS[2], 'total', 1)
  end
end
for i = 5, #ARGV, 2 do
  redis.call('XADD', stream_of(ARGV[i], 3), '*', 'e', ARGV[i])
end
if ARGV[1] ~= '' then
  redis.call('HSET', KEYS[2], 'e', ARGV[1])
  leave_batch(1, '', 'sealed')
end
return 1
