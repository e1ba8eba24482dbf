-- This script returns the records of a list that announce.lua wrote, the newest first, and after
-- each record its remaining life in milliseconds. It leaves out records that are too old or too
-- large. KEYS contains the Redis key of the list. ARGV contains the life of a record in
-- milliseconds; the maximum number of elements to read; the size limit of a record in bytes.
if redis.call('TYPE', KEYS[1]).ok ~= 'list' then
  return {}
end
local now = now_milliseconds()
local records = {}
for _, element in ipairs(redis.call('LRANGE', KEYS[1], 0, ARGV[2] - 1)) do
  local at, record = string.match(element, '^(%d+) (.*)$')
  at = tonumber(at)
  if at and at <= now and at > now - ARGV[1] and #record <= tonumber(ARGV[3]) then
    table.insert(records, record)
    table.insert(records, at + ARGV[1] - now)
  end
end
return records
