#!lua
-- Takes jobs of one queue over from the outbox, but none that has been taken already.
--
-- KEYS 1-3 streams: normal, high, low  4 payloads (HASH)  5 delayed (ZSET)
--      6 blocked (ZSET)  7.. once marker of each job (STRING)
-- ARGV 1 least time to live of a marker in ms, from the due time on
--      2 most jobs that may be ready, running, blocked or delayed, or '' for any number
--      3.. for each job: id, envelope, due time in ms of the Unix epoch or '' for now,
--          ms from then on until the outbox relays it again, which come on top
-- Returns how many were not known; or, when the queue is full, -1 less the number of
-- those before the first that it has no room for.
--
-- Invariant: a job's payload follows its index, and its marker comes last: a job is
-- not known before it is complete. Stopping before that can double it, which the
-- once-token in Postgres absorbs, but never lose it. The marker of a job that is
-- known lives on until after the next relay, however often there is one.
-- include streams.lua
-- include room.lua
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local taken = 0
local room = math.huge
if ARGV[2] ~= '' then
  room = ARGV[2] - unfinished(1, KEYS[5], KEYS[6])
end
for job = 1, #KEYS - 6 do
  local marker, id, envelope = KEYS[job + 6], ARGV[4 * job - 1], ARGV[4 * job]
  local due = math.max(tonumber(ARGV[4 * job + 1]) or 0, now)
  local left = redis.call('PTTL', marker)
  if left == -2 and redis.call('HEXISTS', KEYS[4], id) == 0 then
    if taken >= room then
      return -job
    end
    if due > now then
      redis.call('ZADD', KEYS[5], ARGV[4 * job + 1], id)
      redis.call('HSET', KEYS[4], id, envelope)
    else
      redis.call('XADD', stream_of(envelope), '*', 'e', envelope)
    end
    taken = taken + 1
  end
  -- At most ten years more: Redis refuses what its clock cannot count to.
  local more = math.min(due - now + tonumber(ARGV[4 * job + 2]), 315360000000)
  local keep = tonumber(ARGV[1]) + more
  if left < keep then
    redis.call('SET', marker, '1', 'PX', string.format('%.0f', keep))
  end
end
return taken
