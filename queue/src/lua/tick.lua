#!lua flags=allow-oom
-- Moves delayed jobs that are due into the stream.
--
-- KEYS 1 stream  2 payloads (HASH)  3 delayed (ZSET)  4 meta (HASH)
-- ARGV 1 most jobs to move  2 ms: do nothing when the last tick is younger
-- Returns {moved, ms until the next is due or -1}.
--
-- Invariant: a job is in the stream before it leaves the index, and its index goes
-- last; by the server's clock it is never early. Moving frees what it takes, so it
-- goes on without memory.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local moved = 0
local since = now - tonumber(redis.call('HGET', KEYS[4], 'tick') or 0)
-- Less than nothing, when the clock was set back.
if since >= tonumber(ARGV[2]) or since < 0 then
  redis.call('HSET', KEYS[4], 'tick', now)
  local due = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, ARGV[1])
  for _, id in ipairs(due) do
    local envelope = redis.call('HGET', KEYS[2], id)
    if envelope then
      redis.call('XADD', KEYS[1], '*', 'e', envelope)
      moved = moved + 1
    end
    redis.call('HDEL', KEYS[2], id)
    redis.call('ZREM', KEYS[3], id)
  end
end
local first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if #first == 0 then
  return {moved, -1}
end
return {moved, math.max(tonumber(first[2]) - now, 0)}
