#!lua flags=allow-oom
-- Ends one job that is done, with all that it holds, and enqueues what follows it.
--
-- KEYS 1-3 streams: normal, high, low  4 result (STRING)
--      5.. what it holds, as release.lua says
-- ARGV 1 number of its stream, from 1 on  2 entry id  3 job id  4 what it holds
--      5 envelope of the next job of its chain, or ''
--      6 what it leaves, and  7 for how many ms, of a job that leaves something only
-- Returns 1, or 0 when the entry had left the stream before.
--
-- Invariant: the result is there, the next job in its stream, and what the job holds free,
-- before its entry leaves, so stopping between loses nothing. Only the entry's end does any of it,
-- so a job that two workers have done ends once, and is followed once.
-- include streams.lua
-- include release.lua
local stream = KEYS[tonumber(ARGV[1])]
if #redis.call('XRANGE', stream, ARGV[2], ARGV[2]) == 0 then
  redis.call('XACK', stream, 'g', ARGV[2])
  return 0
end
if ARGV[6] then
  redis.call('SET', KEYS[4], ARGV[6], 'PX', ARGV[7])
end
if ARGV[5] ~= '' then
  redis.call('XADD', stream_of(ARGV[5]), '*', 'e', ARGV[5])
end
release(ARGV[4], 5, ARGV[3], 'done')
redis.call('XDEL', stream, ARGV[2])
redis.call('XACK', stream, 'g', ARGV[2])
return 1
