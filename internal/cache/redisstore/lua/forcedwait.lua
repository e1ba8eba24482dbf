-- Returns how many milliseconds ago each of the listed forced renewals was.
-- KEYS: forced. ARGV: how many to read at most.
if redis.call('TYPE', KEYS[1]).ok ~= 'list' then
  return {}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ages = {}
for _, listed in ipairs(redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)) do
  local at = tonumber(listed)
  if at then
    table.insert(ages, math.max(0, now - at)) -- the clock may have been put back
  end
end
return ages
