#!lua
-- Takes jobs of one queue over from the outbox, but none that has been taken already.
--
-- KEYS 1 stream  2 payloads (HASH)  3 delayed (ZSET)  4.. once marker of each job (STRING)
-- ARGV 1 time to live of a marker in ms, from the due time on
--      2.. for each job: id, envelope, due time in ms of the Unix epoch or '' for now
-- Returns how many were not known.
--
-- Invariant: a job's payload follows its index, and its marker comes last: a job is
-- not known before it is complete. Stopping before that can double it, which the
-- once-token in Postgres absorbs, but never lose it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local taken = 0
for job = 1, #KEYS - 3 do
  local marker, id, envelope = KEYS[job + 3], ARGV[3 * job - 1], ARGV[3 * job]
  if redis.call('EXISTS', marker) == 0 and redis.call('HEXISTS', KEYS[2], id) == 0 then
    local keep = tonumber(ARGV[1])
    local due = tonumber(ARGV[3 * job + 1])
    if due and due > now then
      redis.call('ZADD', KEYS[3], due, id)
      redis.call('HSET', KEYS[2], id, envelope)
      -- At most ten years more: Redis refuses what its clock cannot count to.
      keep = keep + math.min(due - now, 315360000000)
    else
      redis.call('XADD', KEYS[1], '*', 'e', envelope)
    end
    redis.call('SET', marker, '1', 'PX', string.format('%.0f', keep))
    taken = taken + 1
  end
end
return taken
