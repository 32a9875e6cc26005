#!lua flags=allow-oom
-- Fetches entries of a queue with a gate: as many as it lets through.
--
-- KEYS 1-3 streams: high, normal, low  4 meta (HASH)
-- ARGV 1 consumer  2 most entries  3 most in hand of all workers together, or ''
--      4 µs between two starts, or ''  5 starts that may come at once
-- Returns {{entry id, fields, 1, number of the stream from 1 on}, ...}, how many lie between
--   two workers, ms until the gate opens or -1 when that is not a matter of time, and
--   the newest entry ever fetched of each stream, when there are none behind these.
--
-- Invariant: what is in hand, whoever has it, is never more than may be. What lies between
-- two workers takes its place here, so that it does not wait behind all that is new. Each
-- entry that is fetched is paid for, and nothing else is.
-- include gate.lua
local TURNS = {1, 2, 1, 3, 1, 2, 1}
local me, room, wait = ARGV[1], tonumber(ARGV[2]), -1
local all, back = in_hand(1)
if ARGV[3] ~= '' then
  room = math.min(room, ARGV[3] - all)
end
local interval, tat = tonumber(ARGV[4]), nil
if interval and room > 0 then
  local free, next
  free, next, tat = starts(KEYS[4], interval, tonumber(ARGV[5]))
  if free == 0 then
    wait = math.ceil(next / 1000)
  end
  room = math.min(room, free)
end
if room <= 0 then
  return {{}, back, wait, {}}
end
local taken = {}
local function read(number, count)
  if count > 0 then
    local answer = redis.call('XREADGROUP', 'GROUP', 'g', me, 'COUNT', count, 'STREAMS', KEYS[number], '>')
    for _, entry in ipairs(answer and answer[1][2] or {}) do
      taken[#taken + 1] = {entry[1], entry[2], 1, number}
    end
  end
end
-- Each its share of the starts, from where the last ones ended; what it does not use the
-- others get.
local turn = tonumber(redis.call('HGET', KEYS[4], 'turn') or 0)
local shares = {0, 0, 0}
for i = turn, turn + room - 1 do
  local number = TURNS[i % #TURNS + 1]
  shares[number] = shares[number] + 1
end
for number = 1, 3 do
  read(number, shares[number])
end
for number = 1, 3 do
  read(number, room - #taken)
end
local newest = {}
if #taken == 0 then
  for number = 1, 3 do
    for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[number])) do
      local fields = {}
      for i = 1, #group, 2 do
        fields[group[i]] = group[i + 1]
      end
      if fields['name'] == 'g' then
        newest[number] = fields['last-delivered-id']
      end
    end
  end
  return {taken, back, wait, newest}
end
redis.call('HSET', KEYS[4], 'turn', (turn + #taken) % #TURNS)
if tat then
  pay(KEYS[4], tat, #taken, interval)
end
return {taken, back, wait, newest}
