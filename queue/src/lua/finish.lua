#!lua flags=allow-oom
-- Ends a unique job that is done, and frees its key.
--
-- KEYS 1 stream  2 lock (STRING)
-- ARGV 1 entry id  2 job id
-- Returns how many entries left the stream: 0 when this one had left before.
--
-- Invariant: the key is freed before the entry leaves. Stopping between the two
-- lets another job with this key in, and this one run again; the other way round
-- the key would be held by a job that is done. A job that is no entry any more
-- may be waiting for its next attempt, and then still needs its key.
local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if entry[1] and redis.call('GET', KEYS[2]) == ARGV[2] then
  redis.call('DEL', KEYS[2])
end
local gone = redis.call('XDEL', KEYS[1], ARGV[1])
redis.call('XACK', KEYS[1], 'g', ARGV[1])
return gone
