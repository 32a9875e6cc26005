#!lua flags=allow-oom
-- Makes one dead letter a job again, unless another one holds its key.
--
-- KEYS 1-3 streams: normal, high, low  4 dead letters (STREAM)
--      5 requests to cancel (ZSET)  6 lock (STRING), of a unique job only
-- ARGV 1 id of the letter  2 envelope  3 job id  4 time to live of the lock in ms
-- Returns 1, 0 when the letter is gone, -1 when a request to cancel the job is
--   remembered, or the id of the job that holds the key.
--
-- Invariant: the job is in the stream before the letter is gone, and of two
-- replays only one finds the letter. The marker of a once-job stays: its row is
-- in the outbox still. Replacing frees what it takes, so it goes on without memory.
-- include streams.lua
if #redis.call('XRANGE', KEYS[4], ARGV[1], ARGV[1]) == 0 then
  return 0
end
-- The worker that takes it would end it at once, and the letter were gone.
if redis.call('ZSCORE', KEYS[5], ARGV[3]) then
  return -1
end
if KEYS[6] then
  local holder = redis.call('GET', KEYS[6])
  if holder and holder ~= ARGV[3] then
    return holder
  end
end
redis.call('XADD', stream_of(ARGV[2]), '*', 'e', ARGV[2])
if KEYS[6] then
  redis.call('SET', KEYS[6], ARGV[3], 'PX', ARGV[4])
end
redis.call('XDEL', KEYS[4], ARGV[1])
return 1
