#!lua
-- Puts a job into the place of the one that holds its key, where that waits; or keeps it
-- for the end of that one, where a worker has it in hand.
--
-- KEYS 1-3 streams: normal, high, low  4 payloads (HASH)  5 delayed (ZSET)
--      6 lock (STRING)  7 meta (HASH)  8 parked, or blocked (ZSET)
--      9 the job that is kept (HASH)  10.. the holder's slot, if it needs one: as slots.lua says
-- ARGV 1 job id  2 envelope  3 'now', 'in' or 'at'  4 ms from now, or of the Unix epoch
--      5 time to live of the lock in ms, from the job's time on
--      6 id of the holder  7 where it was seen: its entry id, or 'aside'
--      8 number of its stream, from 1 on  9 its member of KEYS 8
--      10 '1' to keep the job while a worker has the holder in hand, else ''
--      11 time to live of a job that is kept, in ms, from now on
-- Returns 1 when it is in the holder's place; 0 when a worker has that in hand; 2 when it is
--   kept, with the time when it is due, or the id of the job that was kept before and is not any more; or -1 when the
--   holder is not there (any more).
--
-- Invariant: the new job is there, and holds the key, before the old one leaves, whose
-- payload goes before its index; its slot is the next one's. What has left is counted. At
-- most one job is kept for a key, and its wait ends where its holder does. No allow-oom: a producer can wait.
-- include streams.lua
-- include place.lua
-- include slots.lua
local old, at = ARGV[6], ARGV[7]
if redis.call('GET', KEYS[6]) ~= old then
  return -1
end
local stream, owner = KEYS[tonumber(ARGV[8])], nil
if at == 'aside' then
  local there = redis.call('ZSCORE', KEYS[5], old)
    or (ARGV[9] ~= '' and redis.call('ZSCORE', KEYS[8], ARGV[9]))
  if not there or redis.call('HEXISTS', KEYS[4], old) == 0 then
    return -1
  end
else
  if #redis.call('XRANGE', stream, at, at) == 0 then
    return -1
  end
  -- Without a group nobody has fetched anything.
  local pending = redis.pcall('XPENDING', stream, 'g', at, at, 1)
  owner = pending[1] and pending[1][2]
end
local before = redis.call('HGET', KEYS[9], 'id')
if owner and owner ~= '~' then
  if ARGV[10] == '' then
    return 0
  end
  local due = ARGV[3] == 'now' and 0 or due_at(ARGV[3], ARGV[4])
  redis.call('HSET', KEYS[9], 'of', old, 'id', ARGV[1], 'e', ARGV[2], 'ttl', ARGV[5],
    'due', string.format('%.0f', due))
  -- A holder whose end nobody sees must not leave it for ever.
  redis.call('PEXPIRE', KEYS[9], ARGV[11])
  if before then
    redis.call('HINCRBY', KEYS[7], 'replaced', 1)
  end
  return before or 2
end
local keep = place(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
redis.call('SET', KEYS[6], ARGV[1], 'PX', keep)
redis.call('HINCRBY', KEYS[7], 'replaced', before and 2 or 1)
if before then
  redis.call('DEL', KEYS[9])
end
if KEYS[10] then
  redis.call('HDEL', KEYS[10], old)
  let_in(10, at == 'aside' and old)
end
if at ~= 'aside' then
  redis.call('XDEL', stream, at)
  redis.call('XACK', stream, 'g', at)
else
  redis.call('HDEL', KEYS[4], old)
  redis.call('ZREM', KEYS[5], old)
  redis.call('ZREM', KEYS[8], ARGV[9])
end
return 1
