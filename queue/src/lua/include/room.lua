-- The unfinished jobs of the queue whose streams are KEYS `first` and the two behind it.
local function unfinished(first, delayed, blocked)
  local jobs = redis.call('ZCARD', delayed) + redis.call('ZCARD', blocked)
  for level = 0, 2 do
    jobs = jobs + redis.call('XLEN', KEYS[first + level])
  end
  return jobs
end
