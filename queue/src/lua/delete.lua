#!lua flags=allow-oom
-- Deletes one job that nobody runs.
--
-- KEYS 1 where it is: stream, delayed, parked (ZSETs) or dead letters (STREAM)
--      2 payloads (HASH)  3 once marker (STRING)  4 lock (STRING), of a unique job only
-- ARGV 1 job id  2 'entry', 'set aside' or 'letter'  3 its entry, member or letter there
--      4 time to live of a once-job's marker in ms, else ''
-- Returns 1, 0 when it is not there (any more), or -1 when a worker has it in hand.
--
-- Invariant: the marker of a once-job is there before the job is gone, and none is made
-- shorter, or the outbox,
-- which still has the row, would bring it back. The key of a unique job is free before
-- the job is gone: a key that is held without a job would keep all out. An index goes
-- after its payload: a payload that no index names would stay for ever.
local id, kind, at = ARGV[1], ARGV[2], ARGV[3]
local back = false
if kind == 'set aside' then
  if not redis.call('ZSCORE', KEYS[1], at) then
    return 0
  end
else
  if #redis.call('XRANGE', KEYS[1], at, at) == 0 then
    return 0
  end
  if kind == 'entry' then
    local pending = redis.pcall('XPENDING', KEYS[1], 'g', at, at, 1)
    if pending[1] and pending[1][2] ~= '~' then
      return -1
    end
    back = pending[1] ~= nil
  end
end
local locks = KEYS[4] and redis.call('GET', KEYS[4]) == id
if ARGV[4] ~= '' and redis.call('PTTL', KEYS[3]) < tonumber(ARGV[4]) then
  redis.call('SET', KEYS[3], '1', 'PX', ARGV[4])
end
if locks then
  redis.call('DEL', KEYS[4])
end
if kind == 'set aside' then
  redis.call('HDEL', KEYS[2], id)
  redis.call('ZREM', KEYS[1], at)
else
  redis.call('XDEL', KEYS[1], at)
end
if back then
  redis.call('XACK', KEYS[1], 'g', at)
end
return 1
