-- The stream of a job's priority, out of KEYS 1 to 3, or from `first` on: normal, high, low. From version 3
-- on, the second byte of an envelope is the level.
local function stream_of(envelope, first)
  local level = 0
  if (string.byte(envelope, 1) or 0) >= 3 then
    level = string.byte(envelope, 2) or 0
  end
  return KEYS[(first or 1) + (level <= 2 and level or 0)]
end
