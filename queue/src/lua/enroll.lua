#!lua flags=allow-oom
-- Tells which schedules the caller follows, and removes those that nobody does.
--
-- KEYS 1 cron (ZSET)  2 cronspec (HASH)
-- ARGV 1 when the caller's worker began (ms)
--      2 ms without a word after which a schedule is gone, or '' not to judge
--      3.. name, rule, and its first slot from now on (ms)
-- Returns {how many of those slots are past: enroll again, names removed}.
--
-- A field of cronspec is `SEEN BEGAN RULE`: when a worker with this rule last said so,
-- and when the latest of them began. Where rules differ, that of the worker which
-- began last is in force, until all that have it are gone.
--
-- Invariant: what is in cron has a rule, and a slot of that rule: it is taken out
-- before the rule changes, and put in after, so a repeat mends a stop after any write.
-- What was asked for, `!NAME`, goes with its schedule, and else stays.
-- A rule begins with a slot that is not past, so none fires under two rules. The
-- memory that this takes is bounded by the schedules in the code.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local mine, ttl = tonumber(ARGV[1]), tonumber(ARGV[2])
local known, late, removed = {}, 0, {}
if ttl then
  -- A release that knows no slots that were asked for removes schedules without them.
  for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    local name = string.match(member, '^!(.*)$')
    if name and redis.call('HEXISTS', KEYS[2], name) == 0 then
      redis.call('ZREM', KEYS[1], member)
    end
  end
end
for i = 3, #ARGV, 3 do
  local name, rule, slot = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  known[name] = true
  local seen, began, old = string.match(redis.call('HGET', KEYS[2], name) or '', '^(%d+) (%d+) (.*)$')
  local gone = not old or (ttl and now - seen > ttl)
  local follows = old == rule or gone or mine > tonumber(began)
  local due = redis.call('ZSCORE', KEYS[1], name)
  local moves = not due or old ~= rule
  if follows and moves and slot <= now then
    late = late + 1
  elseif follows then
    if old == rule then
      began = math.max(mine, tonumber(began))
    else
      began = mine
    end
    if moves then
      redis.call('ZREM', KEYS[1], name)
    end
    redis.call('HSET', KEYS[2], name, string.format('%.0f %.0f %s', now, began, rule))
    if moves then
      redis.call('ZADD', KEYS[1], slot, name)
    end
  end
end
if ttl then
  local fields = redis.call('HGETALL', KEYS[2])
  for i = 1, #fields, 2 do
    local name, seen = fields[i], string.match(fields[i + 1], '^%d+') or 0
    if not known[name] and now - seen > ttl then
      redis.call('ZREM', KEYS[1], name, '!' .. name)
      redis.call('HDEL', KEYS[2], name)
      removed[#removed + 1] = name
    end
  end
end
return {late, removed}
