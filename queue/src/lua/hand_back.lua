#!lua flags=allow-oom
-- Gives entries that the caller owns back, as if they had not been delivered.
--
-- KEYS 1 stream
-- ARGV 1 consumer  2.. entry ids
-- Returns how many were given back; those that it does not own are left alone.
--
-- Invariant: an entry always has an owner. The next reclaim of any worker takes
-- it from `~`, and its count of deliveries is then what it is now.
local given = 0
for i = 2, #ARGV do
  local id = ARGV[i]
  local pending = redis.call('XPENDING', KEYS[1], 'g', id, id, 1, ARGV[1])
  if pending[1] then
    local before = math.max(pending[1][4] - 1, 0)
    redis.call('XCLAIM', KEYS[1], 'g', '~', 0, id, 'RETRYCOUNT', before, 'JUSTID')
    given = given + 1
  end
end
return given
