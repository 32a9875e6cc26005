#!lua flags=allow-oom
-- Takes one request from each of several limits, or, where one has none left, from none.
--
-- KEYS 1.. of each limit, STRING with a time to live: when all that it let through is paid
--      for (µs of the server's clock); without it, all is
-- ARGV 1 µs between two requests of the first limit, as a decimal  2 how many of it may come
--      at once  3.. the same two of each other limit
-- Returns for each limit {requests left, ms until there is one more, ms until all are
--   back}, behind 1 when the request was let through, or 0.
--
-- Invariant: all limits are looked at before the first is paid, in the script that pays, so
-- any number of callers together stay below each of them, and who is refused by one uses up
-- nothing of the others. What is kept ends when it says no more than its absence: a limit
-- costs no memory once it has recovered. Memory that is full must not close what is
-- limited, because what is kept is small and passes by itself.
--
-- The generic cell rate algorithm (ITU-T I.371): a limit is `ahead` of the clock by what it
-- let through and nobody has waited for yet.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function keep(key, ahead)
  redis.call('SET', key, string.format('%.0f', now + ahead), 'PX', math.ceil(ahead / 1000))
end
local limits, allowed = {}, true
for i, key in ipairs(KEYS) do
  local limit = {interval = tonumber(ARGV[2 * i - 1]), burst = tonumber(ARGV[2 * i])}
  limit.most = limit.interval * limit.burst
  limit.ahead = math.max(tonumber(redis.call('GET', key) or 0) - now, 0)
  -- The clock was set back, or the limit was lowered: it recovers from here.
  if limit.ahead > limit.most + 1 then
    limit.ahead = limit.most
    keep(key, limit.ahead)
  end
  -- A millionth, because times are whole µs and the interval need not be.
  limit.left = math.floor((limit.most - limit.ahead) / limit.interval + 0.000001)
  allowed = allowed and limit.left > 0
  limits[i] = limit
end
local answer = {allowed and 1 or 0}
for i, limit in ipairs(limits) do
  if allowed then
    limit.ahead = limit.ahead + limit.interval
    limit.left = limit.left - 1
    keep(KEYS[i], limit.ahead)
  end
  local more = 0
  if limit.left < limit.burst then
    more = limit.ahead - limit.most + (limit.left + 1) * limit.interval
  end
  answer[i + 1] = {limit.left, math.ceil(math.max(more, 0) / 1000), math.ceil(limit.ahead / 1000)}
end
return answer
