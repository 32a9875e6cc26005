#!lua flags=allow-oom
-- Takes a slot for a job before it runs, or sets the job aside until there is one.
--
-- KEYS 1 stream  2.. as slots.lua says, whose keys begin here
-- ARGV 1 consumer  2 entry id  3 level of the stream  4 job id
--      5 how many slots its key has, as this job says  6 envelope
-- Returns 1 when it has a slot, 0 when it waits for one, or -1 when the consumer does
--   not own the entry (any more).
--
-- Invariant: a slot belongs to a job and its entry, so it outlives the worker, and ends
-- with the entry. Of those that wait the first comes first: none passes one before it.
-- The job is among them, and then its payload there, before its entry leaves, and so are
-- those back that may go instead: whatever stops between, the entry is asked for again.
-- include slots.lua
local entry, id, limit = ARGV[2], ARGV[4], tonumber(ARGV[5])
if #redis.call('XPENDING', KEYS[1], 'g', entry, entry, 1, ARGV[1]) == 0 then
  return -1
end
local slot = ARGV[3] .. '/' .. entry
local member = key_of(2) .. ' ' .. id .. ' ' .. ARGV[5]
if redis.call('HGET', KEYS[2], id) ~= slot then
  local first = '[' .. key_of(2) .. ' '
  local before = redis.call('ZRANGEBYLEX', KEYS[3], first, '(' .. member, 'LIMIT', 0, 1)
  if before[1] or not has_room(2, limit) then
    redis.call('ZADD', KEYS[3], 0, member)
    redis.call('HSET', KEYS[4], id, ARGV[6])
    let_in(2)
    redis.call('XDEL', KEYS[1], entry)
    redis.call('XACK', KEYS[1], 'g', entry)
    return 0
  end
  redis.call('HSET', KEYS[2], id, slot)
end
-- Half set aside by one that was stopped.
if redis.call('ZSCORE', KEYS[3], member) then
  redis.call('HDEL', KEYS[4], id)
  redis.call('ZREM', KEYS[3], member)
end
return 1
