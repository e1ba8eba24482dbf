-- Returns for how many milliseconds the next forced renewal must wait.
-- KEYS: forced. ARGV: how many there may be, and within how many milliseconds.
if redis.call('TYPE', KEYS[1]).ok ~= 'list' then
  return 0
end
local earliest = redis.call('LINDEX', KEYS[1], ARGV[1] - 1)
if not earliest then
  return 0
end
local now = redis.call('TIME')
return math.max(0, earliest + ARGV[2] - (now[1] * 1000 + math.floor(now[2] / 1000)))
