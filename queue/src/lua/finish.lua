#!lua flags=allow-oom
-- Ends unique jobs that are done, and frees their keys.
--
-- KEYS 1 stream  2.. locks (STRING), one of each job
-- ARGV 1.. entry id and job id of each job, in the order of the locks
-- Returns how many entries left the stream; some may have left before.
--
-- Invariant: a key is freed before its entry leaves. Stopping between the two lets
-- another job with this key in, and this one run again; the other way round the
-- key would be held by a job that is done. A job that is no entry any more may be
-- waiting for its next attempt, and then still needs its key.
local entries, free = {}, {}
for i = 2, #KEYS do
  local entry, job = ARGV[2 * i - 3], ARGV[2 * i - 2]
  entries[i - 1] = entry
  local there = redis.call('XRANGE', KEYS[1], entry, entry)[1]
  if there and redis.pcall('GET', KEYS[i]) == job then
    free[#free + 1] = KEYS[i]
  end
end
if free[1] then
  redis.call('DEL', unpack(free))
end
local gone = redis.call('XDEL', KEYS[1], unpack(entries))
redis.call('XACK', KEYS[1], 'g', unpack(entries))
return gone
