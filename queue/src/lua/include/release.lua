-- What a job holds besides its place in the queue: `letters` names it, and its keys
-- stand from KEYS[at] on, in that order.
--   u  its lock (STRING)
local function release(letters, at, job)
  for letter in string.gmatch(letters, '.') do
    if letter == 'u' then
      if redis.call('GET', KEYS[at]) == job then
        redis.call('DEL', KEYS[at])
      end
      at = at + 1
    end
  end
end
