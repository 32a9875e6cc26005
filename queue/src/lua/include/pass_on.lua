-- Frees the lock at KEYS[at], or passes it on to the job that was kept for the end of this
-- one, in the HASH behind it, and enqueues that, or delays it, where it is not due yet. The
-- streams stand behind the two, and then the delayed jobs and the payloads.
local function pass_on(at, job)
  local lock, kept = KEYS[at], KEYS[at + 1]
  local holder = redis.call('GET', lock) or job
  local next = redis.call('HMGET', kept, 'of', 'id', 'e', 'ttl', 'due')
  if next[1] == job then
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    -- The release before kept none for a time.
    local left = math.max((next[5] or 0) - now, 0)
    if left > 0 then
      redis.call('ZADD', KEYS[at + 5], next[5], next[2])
      redis.call('HSET', KEYS[at + 6], next[2], next[3])
    else
      local level = string.byte(next[3], 1) >= 3 and string.byte(next[3], 2) or 0
      redis.call('XADD', KEYS[at + (level <= 2 and level or 0) + 2], '*', 'e', next[3])
    end
    if holder == job then
      -- At most ten years more: Redis refuses what its clock cannot count to.
      local keep = next[4] + math.min(left, 315360000000)
      redis.call('SET', lock, next[2], 'PX', string.format('%.0f', keep))
    end
    redis.call('DEL', kept)
  elseif holder == job then
    redis.call('DEL', lock)
  end
end
