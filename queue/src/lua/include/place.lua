-- When a job is due, in ms of the server's clock, `ms` from now ('in') or of the Unix epoch
-- ('at'), and how long that is from now.
local function due_at(mode, ms)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local due = tonumber(ms)
  if mode == 'in' then
    due = due + now
  end
  return due, math.max(due - now, 0)
end

-- Puts a new job where it waits: into its stream, or among the delayed ones (KEYS[5], with
-- its payload in KEYS[4]) until it is due. Returns the life in ms of a lock that lives `ttl`
-- ms from the job's time on.
local function place(job, envelope, mode, ms, ttl)
  local keep = tonumber(ttl)
  if mode == 'now' then
    redis.call('XADD', stream_of(envelope), '*', 'e', envelope)
  else
    local due, left = due_at(mode, ms)
    redis.call('ZADD', KEYS[5], due, job)
    redis.call('HSET', KEYS[4], job, envelope)
    -- At most ten years more: Redis refuses what its clock cannot count to.
    keep = keep + math.min(left, 315360000000)
  end
  return string.format('%.0f', keep)
end
