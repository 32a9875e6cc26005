#!lua flags=allow-oom
-- Makes one entry that the caller owns a dead letter.
--
-- KEYS 1 stream  2 dead letters (STREAM)  3 once marker (STRING)
--      4.. what the job holds, as release.lua says
-- ARGV 1 consumer  2 entry id  3 envelope  4 why  5 error  6 attempts
--      7 time to live of a once-job's marker in ms, else ''  8 job id, or ''
--      9 what the job holds
-- Returns 1, or 0 when the consumer does not own the entry (any more).
--
-- Invariant: the letter is written before the entry leaves the stream. The marker
-- of a once-job lives at least as long as the letter, so that the outbox, which still has
-- the row, does not bring the job back meanwhile. What the job holds is free before the
-- entry leaves: a key that is held without a job would keep all out.
-- include release.lua
if #redis.call('XPENDING', KEYS[1], 'g', ARGV[2], ARGV[2], 1, ARGV[1]) == 0 then
  return 0
end
redis.call('XADD', KEYS[2], '*', 'e', ARGV[3], 'why', ARGV[4], 'error', ARGV[5], 'n', ARGV[6])
if ARGV[7] ~= '' and redis.call('PTTL', KEYS[3]) < tonumber(ARGV[7]) then
  redis.call('SET', KEYS[3], '1', 'PX', ARGV[7])
end
release(ARGV[9], 4, ARGV[8], 'dead')
redis.call('XDEL', KEYS[1], ARGV[2])
redis.call('XACK', KEYS[1], 'g', ARGV[2])
return 1
