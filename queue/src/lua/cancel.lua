#!lua flags=allow-oom
-- Cancels a job: removes it where nobody runs it, or where the caller has stopped it,
-- and else remembers that it is to be cancelled.
--
-- KEYS 1 stream  2 payloads (HASH)  3 delayed (ZSET)  4 parked, or blocked (ZSET)
--      5 requests (ZSET)  6 meta (HASH)  7 once marker (STRING)
--      8.. what the job holds, as release.lua says
-- ARGV 1 job id  2 where the caller has seen it: its entry id, 'aside' for delayed,
--      parked or blocked, '' for nowhere in a part of the queue, or 'gone' for nowhere in all of it
--      3 its member of KEYS 4  4 consumer, of a worker only
--      5 time to live of a once-job's marker in ms, else ''  6 what the job holds
-- Returns 1 when it was removed, 0 when a worker has it in hand, -1 when it is aside,
--   and the caller did not see it there, -2 when it is not where the caller saw it.
--
-- Invariant: the marker of a once-job is there before the job is gone, and none is made
-- shorter, or the outbox, which still has the row, would bring it back. What it holds is
-- free before it leaves, a payload goes before its index,
-- which goes last, and what is removed is counted. Requests have scores that grow, so
-- that a worker need only ask for those above the last that it knows.
-- include release.lua
local id, place = ARGV[1], ARGV[2]
local entry = string.find(place, '-', 1, true) and redis.call('XRANGE', KEYS[1], place, place)[1]
local aside = redis.call('HEXISTS', KEYS[2], id) == 1
local owner
if entry then
  -- Without a group nobody has fetched anything.
  local pending = redis.pcall('XPENDING', KEYS[1], 'g', place, place, 1)
  owner = pending[1] and pending[1][2]
end
local seen = aside and place == 'aside'
  and (redis.call('ZSCORE', KEYS[3], id) or (ARGV[3] ~= '' and redis.call('ZSCORE', KEYS[4], ARGV[3])))
local waits = entry and (not owner or owner == '~' or owner == ARGV[4])
if waits or seen then
  if ARGV[5] ~= '' and redis.call('PTTL', KEYS[7]) < tonumber(ARGV[5]) then
    redis.call('SET', KEYS[7], '1', 'PX', ARGV[5])
  end
  release(ARGV[6], 8, id, 'cancelled', not waits)
  redis.call('HINCRBY', KEYS[6], 'cancelled', 1)
  if waits then
    redis.call('XDEL', KEYS[1], place)
    redis.call('XACK', KEYS[1], 'g', place)
  else
    redis.call('HDEL', KEYS[2], id)
    redis.call('ZREM', KEYS[3], id)
    redis.call('ZREM', KEYS[4], ARGV[3])
  end
  return 1
end
-- A worker was told to stop it, and a job that is gone needs no request.
if not entry and (ARGV[4] ~= '' or (place == 'gone' and not aside)) then
  return aside and -1 or -2
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = redis.call('ZRANGE', KEYS[5], -1, -1, 'WITHSCORES')[2]
redis.call('ZADD', KEYS[5], math.max(now, (last or 0) + 1), id)
if entry then
  return 0
end
return aside and -1 or -2
