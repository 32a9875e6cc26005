#!lua flags=allow-oom
-- Lets in those that wait for a slot of one key, as far as there is room.
--
-- KEYS 1.. as slots.lua says
-- ARGV 1.. none
-- Returns how many wait still, 1 for any number.
--
-- Invariant: as slots.lua has it: a job is back in its stream, with its slot, before its
-- payload and its place among those that wait are gone.
-- include slots.lua
let_in(1)
local first = '[' .. key_of(1) .. ' '
return #redis.call('ZRANGEBYLEX', KEYS[2], first, '(' .. key_of(1) .. '!', 'LIMIT', 0, 1)
