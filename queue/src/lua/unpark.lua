#!lua flags=allow-oom
-- Moves parked jobs that the caller knows back into the stream.
--
-- KEYS 1-3 streams: normal, high, low  4 payloads (HASH)  5 parked (ZSET)
-- ARGV 1 most jobs to move  2.. prefixes of the members the caller knows
-- Returns how many were moved.
--
-- Invariant: a job is in the stream before it leaves the index, and its index goes
-- last.
-- include streams.lua
local moved = 0
if redis.call('EXISTS', KEYS[5]) == 0 then
  return 0
end
for i = 2, #ARGV do
  local prefix = ARGV[i]
  local room = tonumber(ARGV[1]) - moved
  if room <= 0 then
    break
  end
  local members = redis.call('ZRANGEBYLEX', KEYS[5], '[' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, room)
  for _, member in ipairs(members) do
    local id = string.sub(member, #prefix + 1)
    local envelope = redis.call('HGET', KEYS[4], id)
    if envelope then
      redis.call('XADD', stream_of(envelope), '*', 'e', envelope)
      moved = moved + 1
    end
    redis.call('HDEL', KEYS[4], id)
    redis.call('ZREM', KEYS[5], member)
  end
end
return moved
