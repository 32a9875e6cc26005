-- Frees the lock at KEYS[at], or passes it on to the job that was kept for the end of this
-- one, in the HASH behind it, and enqueues that; the streams stand behind the two.
local function pass_on(at, job)
  local lock, kept = KEYS[at], KEYS[at + 1]
  local holder = redis.call('GET', lock) or job
  local next = redis.call('HMGET', kept, 'of', 'id', 'e', 'ttl')
  if next[1] == job then
    local level = string.byte(next[3], 1) >= 3 and string.byte(next[3], 2) or 0
    redis.call('XADD', KEYS[at + (level <= 2 and level or 0) + 2], '*', 'e', next[3])
    if holder == job then
      redis.call('SET', lock, next[2], 'PX', next[4])
    end
    redis.call('DEL', kept)
  elseif holder == job then
    redis.call('DEL', lock)
  end
end
