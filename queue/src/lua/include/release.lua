-- include leave_batch.lua
-- include pass_on.lua
-- What a job holds besides its place in the queue: `letters` names it, and its keys
-- stand from KEYS[at] on, in that order. `how` it ends: done, dead or cancelled.
--   u  its lock (STRING)
--   r  its lock, and the job that is kept for its end (HASH), streams: normal, high, low,
--      delayed (ZSET), payloads (HASH)
--   b  its place in a batch: members (SET), batch (HASH), streams: normal, high, low
--   k  its slot: six keys, as slots.lua says; the next of its key take it. A job that
--      `waits` for one itself is passed over.
-- include slots.lua
local function release(letters, at, job, how, waits)
  for letter in string.gmatch(letters, '.') do
    if letter == 'u' then
      if redis.call('GET', KEYS[at]) == job then
        redis.call('DEL', KEYS[at])
      end
      at = at + 1
    elseif letter == 'r' then
      pass_on(at, job)
      at = at + 7
    elseif letter == 'b' then
      leave_batch(at, job, how)
      at = at + 5
    elseif letter == 'k' then
      redis.call('HDEL', KEYS[at], job)
      let_in(at, waits and job)
      at = at + 6
    end
  end
end
