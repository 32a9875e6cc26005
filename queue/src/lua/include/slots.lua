-- Slots of a key, and who waits for one. KEYS[at] slots (HASH job id -> `LEVEL/ENTRY`)
-- at + 1 blocked (ZSET of `KEY JOB LIMIT`)  at + 2 payloads (HASH)  at + 3.. streams:
-- normal, high, low.
local function key_of(at)
  return string.match(KEYS[at], '[^:]+$')
end

-- Whether less than `limit` slots are taken. A slot is taken as long as its job's entry is
-- in its stream; one whose entry left without a word goes as soon as it is in the way.
local function has_room(at, limit)
  if redis.call('HLEN', KEYS[at]) < limit then
    return true
  end
  local slots = redis.call('HGETALL', KEYS[at])
  for i = 1, #slots, 2 do
    local level, entry = string.match(slots[i + 1], '^(%d)/(.+)$')
    if #redis.call('XRANGE', KEYS[at + 3 + level], entry, entry) == 0 then
      redis.call('HDEL', KEYS[at], slots[i])
    end
  end
  return redis.call('HLEN', KEYS[at]) < limit
end

-- Moves those that wait back into their streams, each with its slot, in their order and
-- as long as there is room for the first. A job to `pass` over waits too, and shall go.
local function let_in(at, pass)
  local first, behind = '[' .. key_of(at) .. ' ', '(' .. key_of(at) .. '!'
  repeat
    local moved = false
    local waiting = redis.call('ZRANGEBYLEX', KEYS[at + 1], first, behind, 'LIMIT', 0, 2)
    for _, member in ipairs(waiting) do
      local id, limit = string.match(member, ' (.+) (%d+)$')
      if id ~= pass then
        if not has_room(at, tonumber(limit)) then
          return
        end
        local envelope = redis.call('HGET', KEYS[at + 2], id)
        if envelope then
          -- A job with a slot is of version 3, whose second byte is the level.
          local level = string.byte(envelope, 2)
          local entry = redis.call('XADD', KEYS[at + 3 + level], '*', 'e', envelope)
          redis.call('HSET', KEYS[at], id, level .. '/' .. entry)
        end
        redis.call('HDEL', KEYS[at + 2], id)
        redis.call('ZREM', KEYS[at + 1], member)
        moved = true
      end
    end
  until not moved
end
