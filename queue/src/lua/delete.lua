#!lua flags=allow-oom
-- Deletes one job that nobody runs.
--
-- KEYS 1 where it is: stream, delayed, parked, blocked (ZSETs) or dead letters (STREAM)
--      2 payloads (HASH)  3 once marker (STRING)
--      4.. what the job holds, as release.lua says
-- ARGV 1 job id  2 'entry', 'set aside' or 'letter'  3 its entry, member or letter there
--      4 time to live of a once-job's marker in ms, else ''  5 what the job holds
-- Returns 1, 0 when it is not there (any more), or -1 when a worker has it in hand.
--
-- Invariant: the marker of a once-job is there before the job is gone, and none is made
-- shorter, or the outbox,
-- which still has the row, would bring it back. What the job holds is free before it is
-- gone: a key that is held without a job would keep all out. An index goes
-- after its payload: a payload that no index names would stay for ever.
-- include release.lua
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
if ARGV[4] ~= '' and redis.call('PTTL', KEYS[3]) < tonumber(ARGV[4]) then
  redis.call('SET', KEYS[3], '1', 'PX', ARGV[4])
end
release(ARGV[5], 4, id, 'cancelled', kind == 'set aside')
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
