#!lua flags=allow-oom,no-writes
-- Every place where a job of one queue can be, at one instant.
--
-- KEYS 1 the stream
-- ARGV 1 what all keys of the queue begin with
-- Returns {entries, pending (both of all streams, with ids that begin with the stream's
-- number), delayed, parked, payloads, dead, locks, consumers, keys with their times to live,
-- requests to cancel, how many jobs were cancelled, {the kept, those
-- that wait for a slot}}.
local q = ARGV[1]
local function of_group(...)
  local answer = redis.pcall(...)
  -- No group yet: nobody has fetched since Redis began.
  return answer.err and {} or answer
end
local locks, keys, kept = {}, {}, {}
for _, key in ipairs(redis.call('KEYS', q .. '*')) do
  local name = string.sub(key, #q + 1)
  local ttl = redis.call('PTTL', key)
  if string.sub(name, 1, 2) == 'u:' then
    locks[#locks + 1] = {name, redis.call('GET', key)}
  end
  if string.sub(name, 1, 5) == 'next:' then
    kept[#kept + 1] = redis.call('HGET', key, 'e')
  end
  local sort = string.match(name, '^%l+:')
  local passes = sort == 'once:' or sort == 'st:' or sort == 'b:' or sort == 'result:' or sort == 'progress:'
  if not passes or ttl < 0 then
    keys[#keys + 1] = {name, ttl}
  end
end
local entries, pending, consumers = {}, {}, {}
local function add(list, rows, level)
  for _, row in ipairs(rows) do
    if level then
      row[1] = level .. ':' .. row[1]
    end
    list[#list + 1] = row
  end
end
for level = 0, 2 do
  local stream = q .. 's:' .. level
  add(entries, redis.call('XRANGE', stream, '-', '+'), level)
  add(pending, of_group('XPENDING', stream, 'g', '-', '+', 1000000), level)
  add(consumers, of_group('XINFO', 'CONSUMERS', stream, 'g'))
end
-- One that died before it fetched is no consumer of the group yet.
for _, name in ipairs(redis.call('ZRANGE', q .. 'alive', 0, -1)) do
  consumers[#consumers + 1] = {'name', name}
end
return {
  entries,
  pending,
  redis.call('ZRANGE', q .. 'delayed', 0, -1),
  redis.call('ZRANGE', q .. 'parked', 0, -1),
  redis.call('HGETALL', q .. 'j'),
  redis.call('XRANGE', q .. 'dead', '-', '+'),
  locks,
  consumers,
  keys,
  redis.call('ZRANGE', q .. 'cx', 0, -1),
  tonumber(redis.call('HGET', q .. 'm', 'cancelled') or 0),
  {kept, redis.call('ZRANGE', q .. 'blocked', 0, -1)},
}
