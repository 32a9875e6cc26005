#!lua flags=allow-oom,no-writes
-- Every place where a job of one queue can be, at one instant.
--
-- KEYS 1 the stream
-- ARGV 1 what all keys of the queue begin with
-- Returns {stream, pending, delayed, parked, payloads, dead, locks, consumers, keys with their
-- times to live, requests to cancel, how many jobs were cancelled}.
local q = ARGV[1]
local function of_group(...)
  local answer = redis.pcall(...)
  -- No group yet: nobody has fetched since Redis began.
  return answer.err and {} or answer
end
local locks, keys = {}, {}
for _, key in ipairs(redis.call('KEYS', q .. '*')) do
  local name = string.sub(key, #q + 1)
  local ttl = redis.call('PTTL', key)
  if string.sub(name, 1, 2) == 'u:' then
    locks[#locks + 1] = {name, redis.call('GET', key)}
  end
  local passes = string.sub(name, 1, 5) == 'once:' or string.sub(name, 1, 3) == 'st:'
  if not passes or ttl < 0 then
    keys[#keys + 1] = {name, ttl}
  end
end
return {
  redis.call('XRANGE', q .. 's:0', '-', '+'),
  of_group('XPENDING', q .. 's:0', 'g', '-', '+', 1000000),
  redis.call('ZRANGE', q .. 'delayed', 0, -1),
  redis.call('ZRANGE', q .. 'parked', 0, -1),
  redis.call('HGETALL', q .. 'j'),
  redis.call('XRANGE', q .. 'dead', '-', '+'),
  locks,
  of_group('XINFO', 'CONSUMERS', q .. 's:0', 'g'),
  keys,
  redis.call('ZRANGE', q .. 'cx', 0, -1),
  tonumber(redis.call('HGET', q .. 'm', 'cancelled') or 0),
}
