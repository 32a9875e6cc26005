-- The unfinished jobs of the queue whose streams are KEYS `first` and the two behind it.
local function unfinished(first, delayed)
  local jobs = redis.call('ZCARD', delayed)
  for level = 0, 2 do
    jobs = jobs + redis.call('XLEN', KEYS[first + level])
  end
  return jobs
end
