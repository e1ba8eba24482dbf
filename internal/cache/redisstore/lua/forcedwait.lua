-- Returns how many milliseconds ago each of the listed forced renewals was.
-- KEYS: forced. ARGV: how many to read at most.
if redis.call('TYPE', KEYS[1]).ok ~= 'list' then
  return {}
end
local now = now_milliseconds()
local ages = {}
for _, listed in ipairs(redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)) do
  local at = tonumber(listed)
  if at then
    table.insert(ages, math.max(0, now - at)) -- the clock may have been set back
  end
end
return ages
