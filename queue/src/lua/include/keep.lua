-- Keeps what a job holds that waits for another attempt, `delay` ms from now, or for a
-- worker that knows it, without one; named as in `release`. A lock lives for `ttl` ms from
-- then on, or for good. A lock is never taken from another job; one that has expired is
-- taken again. A slot is not kept: others may run meanwhile.
-- include slots.lua
local function keep(letters, at, job, delay, ttl)
  for letter in string.gmatch(letters, '.') do
    if letter == 'u' or letter == 'r' then
      local ours = (redis.call('GET', KEYS[at]) or job) == job
      if ours and delay then
        -- At most ten years more: Redis refuses what its clock cannot count to.
        local left = ttl + math.min(delay, 315360000000)
        redis.call('SET', KEYS[at], job, 'PX', string.format('%.0f', left))
      elseif ours then
        redis.call('SET', KEYS[at], job)
      end
      at = at + (letter == 'u' and 1 or 7)
    elseif letter == 'b' then
      -- It stays a member.
      at = at + 5
    elseif letter == 'k' then
      redis.call('HDEL', KEYS[at], job)
      let_in(at)
      at = at + 6
    end
  end
end
