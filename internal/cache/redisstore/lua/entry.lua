-- This file is put before each script that reads entries.

-- entry_at returns the string at a Redis key, or false when the key does not exist. A value that is
-- not a string, or that exceeds the size limit, counts as an empty entry. The next write replaces a
-- value that counts as an empty entry.
local function entry_at(key, most)
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then
    return false
  end
  local value = kind == 'string' and redis.call('GETRANGE', key, 0, most) or ''
  return #value <= tonumber(most) and value or ''
end

-- now_milliseconds returns the time of Redis' clock in milliseconds.
local function now_milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
