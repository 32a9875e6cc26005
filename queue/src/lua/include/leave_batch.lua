-- A member leaves its batch, whose keys stand from KEYS[at] on: members, batch, streams.
-- The last one calls the job that follows; that is there before the member has left.
local function leave_batch(at, job, how)
  local members, batch = KEYS[at], KEYS[at + 1]
  if redis.call('SISMEMBER', members, job) == 0 then
    return
  end
  local follows = redis.call('SCARD', members) == 1 and redis.call('HGET', batch, 'e')
  if follows then
    local level = string.byte(follows, 1) >= 3 and string.byte(follows, 2) or 0
    redis.call('XADD', KEYS[at + (level <= 2 and level or 0) + 2], '*', 'e', follows)
    redis.call('HDEL', batch, 'e')
  end
  redis.call('HINCRBY', batch, how, 1)
  redis.call('SREM', members, job)
end
