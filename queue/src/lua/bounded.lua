#!lua
-- Enqueues jobs into a queue that has a limit: all of them, or none.
--
-- KEYS 1-3 streams: normal, high, low  4 delayed (ZSET)  5 blocked (ZSET)
-- ARGV 1 most jobs that may be ready, running, blocked or delayed  2.. envelopes
-- Returns 1, or 0 when there is not room for all.
--
-- Invariant: the room is looked at before the first write, in the script that takes
-- it, so any number of producers together stay below the limit. No allow-oom: a
-- producer can wait.
-- include streams.lua
-- include room.lua
if ARGV[1] - unfinished(1, KEYS[4], KEYS[5]) < #ARGV - 1 then
  return 0
end
for i = 2, #ARGV do
  redis.call('XADD', stream_of(ARGV[i]), '*', 'e', ARGV[i])
end
return 1
