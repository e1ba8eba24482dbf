-- This script returns the age of each forced renewal in a list, in milliseconds. KEYS contains the
-- Redis key of the list. ARGV contains the maximum number of list elements to read.
if redis.call('TYPE', KEYS[1]).ok ~= 'list' then
  return {}
end
local now = now_milliseconds()
local ages = {}
for _, listed in ipairs(redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)) do
  local at = tonumber(listed)
  if at then
    table.insert(ages, math.max(0, now - at)) -- Redis' clock may have been set back
  end
end
return ages
