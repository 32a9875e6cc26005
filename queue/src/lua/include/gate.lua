-- A gate before a queue: its streams are KEYS `first` and the two behind it.
--
-- How many entries are in hand, and how many of them between two workers. The group's
-- lists are the truth: whatever becomes of a worker, its entries count until they end.
local function in_hand(first)
  local all, back = 0, 0
  for i = first, first + 2 do
    local pending = redis.pcall('XPENDING', KEYS[i], 'g')
    -- A stream without a group has no entries in hand.
    if not pending.err and pending[1] > 0 then
      all = all + pending[1]
      for _, consumer in ipairs(pending[4]) do
        if consumer[1] == '~' then
          back = back + consumer[2]
        end
      end
    end
  end
  return all, back
end

-- Starts by the generic cell rate algorithm (ITU-T I.371), in µs of the server's clock:
-- how many may be now, when the next may, and from when on `pay` counts. `tat` is when
-- all that was started is paid for. It is never further away than two bursts, so that a
-- clock that was set back stops nothing for long.
local function starts(meta, interval, burst)
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local tat = math.max(tonumber(redis.call('HGET', meta, 'tat') or 0), now)
  local ahead = math.min(tat - now, 2 * burst * interval)
  local free = math.floor((burst * interval - ahead) / interval + 0.000001)
  return math.max(free, 0), ahead - (burst - 1) * interval, now + ahead
end

local function pay(meta, tat, started, interval)
  redis.call('HSET', meta, 'tat', string.format('%.0f', tat + started * interval))
end
