-- What a job holds besides its place in the queue: `letters` names it, and its keys
-- stand from KEYS[at] on, in that order.
--   u  its lock (STRING)
--   k  its slot: six keys, as slots.lua says; the next of its key take it. A job that
--      `waits` for one itself is passed over.
-- include slots.lua
local function release(letters, at, job, waits)
  for letter in string.gmatch(letters, '.') do
    if letter == 'u' then
      if redis.call('GET', KEYS[at]) == job then
        redis.call('DEL', KEYS[at])
      end
      at = at + 1
    elseif letter == 'k' then
      redis.call('HDEL', KEYS[at], job)
      let_in(at, waits and job)
      at = at + 6
    end
  end
end
