-- Returns for how many milliseconds the next forced renewal must wait.
-- KEYS: forced. ARGV: how many there may be, and within how many milliseconds.
if redis.call('TYPE', KEYS[1]).ok ~= 'list' then
  return 0
end
local earliest = tonumber(redis.call('LINDEX', KEYS[1], ARGV[1] - 1) or nil)
if not earliest then
  return 0
end
local now = redis.call('TIME')
local wait = earliest + ARGV[2] - (now[1] * 1000 + math.floor(now[2] / 1000))
return math.max(0, math.min(wait, ARGV[2])) -- the clock may have been put back
