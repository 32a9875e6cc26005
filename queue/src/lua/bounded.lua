#!lua
-- Enqueues jobs into a queue that has a limit: all of them, or none.
--
-- KEYS 1 stream  2 delayed (ZSET)
-- ARGV 1 most jobs that may be ready, running or delayed  2.. envelopes
-- Returns 1, or 0 when there is not room for all.
--
-- Invariant: the room is looked at before the first write, in the script that takes
-- it, so any number of producers together stay below the limit. No allow-oom: a
-- producer can wait.
local left = ARGV[1] - redis.call('XLEN', KEYS[1]) - redis.call('ZCARD', KEYS[2])
if left < #ARGV - 1 then
  return 0
end
for i = 2, #ARGV do
  redis.call('XADD', KEYS[1], '*', 'e', ARGV[i])
end
return 1
