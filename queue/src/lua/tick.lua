#!lua flags=allow-oom
-- Moves delayed jobs that are due into the stream, and tells the schedules that are,
-- whether the queue is paused, and which jobs are to be cancelled.
--
-- KEYS 1-3 streams: normal, high, low  4 payloads (HASH)  5 delayed (ZSET)
--      6 meta (HASH)  7 cron (ZSET)  8 requests to cancel (ZSET)
-- ARGV 1 most jobs to move  2 ms: move nothing when the last tick is younger
--      3 most schedules to tell  4 tell requests with scores above this  5 most of them
--      6 ms to remember a request
-- Returns {moved, ms until a tick can move the next job, or until the next slot, or -1,
--   now in ms, life of the data or nil, {name, slot, ...} of the schedules that are due,
--   1 when the queue is paused, else 0, {job id, score, ...} of the requests}.
--
-- Invariant: a job is in the stream before it leaves the index, and its index goes
-- last; by the server's clock it is never early. Moving frees what it takes, so it
-- goes on without memory.
-- include streams.lua
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local moved = 0
local since = now - tonumber(redis.call('HGET', KEYS[6], 'tick') or 0)
local gate = tonumber(ARGV[2])
-- Less than nothing, when the clock was set back.
if since < gate and since >= 0 then
  gate = gate - since
else
  redis.call('HSET', KEYS[6], 'tick', now)
  local old = redis.call('ZRANGEBYSCORE', KEYS[8], '-inf', now - ARGV[6], 'LIMIT', 0, 100)
  if old[1] then
    redis.call('ZREM', KEYS[8], unpack(old))
  end
  local due = redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', now, 'LIMIT', 0, ARGV[1])
  for _, id in ipairs(due) do
    local envelope = redis.call('HGET', KEYS[4], id)
    if envelope then
      redis.call('XADD', stream_of(envelope), '*', 'e', envelope)
      moved = moved + 1
    end
    redis.call('HDEL', KEYS[4], id)
    redis.call('ZREM', KEYS[5], id)
  end
end
local wait = -1
local first = redis.call('ZRANGE', KEYS[5], 0, 0, 'WITHSCORES')
if first[2] then
  -- Who came back before the gate opens would come in vain.
  wait = math.max(tonumber(first[2]) - now, gate)
end
local slots = redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[3])
-- What is due may be another worker's to fire: only what is not yet is waited for.
local later = redis.call('ZRANGEBYSCORE', KEYS[7], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
if later[2] and (wait < 0 or later[2] - now < wait) then
  wait = later[2] - now
end
local paused = redis.call('HEXISTS', KEYS[6], 'paused')
local asked = redis.call('ZRANGEBYSCORE', KEYS[8], '(' .. ARGV[4], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[5])
return {moved, wait, now, redis.call('HGET', KEYS[6], 'life'), slots, paused, asked}
