#!lua flags=allow-oom
-- Takes over entries of consumers whose lease has ended, and of `~`, which holds
-- what was handed back.
--
-- KEYS 1 alive (ZSET)  2 meta (HASH)  3.. streams, the first first
-- ARGV 1 consumer  2 most entries to take  3 lease in ms
--      4 deliveries from which an entry is a suspect  5 most suspects to take
--      6 deliveries above which an entry is poison (taken regardless of 5)
--      7-9 as 3-5 of fetch.lua, of a queue with a gate
-- Returns a list of {entry id, fields, deliveries, number of the stream from 1 on}.
--
-- Invariant: only what no living consumer owns is taken. A consumer leaves
-- `alive` before the first of its entries does, so its next beat tells it. In a
-- gap of the beats, and for half a lease after it, nobody is declared dead. A caller
-- without a lease, because Redis has lost it, takes nothing: it would look dead too.
-- A dead worker's entries are in hand already, so a gate does not hold them up, but those
-- of `~` it does. The former are paid for, because they start once more; the latter were.
-- include gate.lua
-- Entries of a consumer looked at in one go, and in all: suspects that must wait
-- shall not hide what stands behind them, and Redis not be blocked for long.
local PAGE, MOST = 100, 1000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me, room = ARGV[1], tonumber(ARGV[2])
local suspect, suspects, poison = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local taken, restarts, free = {}, 0, math.huge
if not redis.call('ZSCORE', KEYS[1], me) then
  return taken
end
if (ARGV[7] or '') ~= '' then
  local all, back = in_hand(3)
  free = ARGV[7] - (all - back)
end
local last = tonumber(redis.call('HGET', KEYS[2], 'beat') or 0)
local grace = tonumber(redis.call('HGET', KEYS[2], 'grace') or 0)
local guarded = now - last > tonumber(ARGV[3]) / 2 or now < grace

local function take(stream, name, number)
  local from, looked = '-', 0
  repeat
    local page = redis.call('XPENDING', stream, 'g', from, '+', PAGE, name)
    for _, entry in ipairs(page) do
      local deliveries = entry[4] + 1
      local doubtful = deliveries >= suspect and deliveries <= poison
      local held = name == '~' and free <= 0
      if #taken < room and not held and (not doubtful or suspects > 0) then
        local claimed = redis.call('XCLAIM', stream, 'g', me, 0, entry[1])
        if claimed[1] then
          taken[#taken + 1] = {entry[1], claimed[1][2], deliveries, number}
          if doubtful then
            suspects = suspects - 1
          end
          if name == '~' then
            free = free - 1
          else
            restarts = restarts + 1
          end
        end
      end
      from = '(' .. entry[1]
    end
    looked = looked + #page
  until #page < PAGE or #taken >= room or looked >= MOST
end

for i = 3, #KEYS do
  local stream = KEYS[i]
  local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, 'g')
  -- A stream without a group has no entries in hand.
  for _, consumer in ipairs(consumers.err and {} or consumers) do
    local name, pending = consumer[2], consumer[4]
    local ended = name == '~'
    if not ended and name ~= me and not guarded then
      local deadline = redis.call('ZSCORE', KEYS[1], name)
      ended = not deadline or tonumber(deadline) < now
    end
    if ended and name ~= '~' then
      redis.call('ZREM', KEYS[1], name)
      if pending == 0 then
        redis.call('XGROUP', 'DELCONSUMER', stream, 'g', name)
      end
    end
    if ended and pending > 0 and #taken < room then
      take(stream, name, i - 2)
    end
  end
end
if not guarded then
  -- Those that died between their first beat and their first fetch own nothing.
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)) do
    if name ~= me then
      redis.call('ZREM', KEYS[1], name)
    end
  end
end
if (ARGV[8] or '') ~= '' and restarts > 0 then
  local interval, burst = tonumber(ARGV[8]), tonumber(ARGV[9])
  local _, _, tat = starts(KEYS[2], interval, burst)
  pay(KEYS[2], tat, restarts, interval)
end
return taken
