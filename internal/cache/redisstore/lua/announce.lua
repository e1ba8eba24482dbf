-- This script adds a record to the front of a list of records, and removes the records at the end
-- that are too old, or that no broker wrote. Each element of the list consists of the time of Redis'
-- clock in milliseconds, a space, and a record. KEYS contains the Redis key of the list. ARGV
-- contains the record; the life of a record in milliseconds; the maximum number of elements.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'list' and kind ~= 'none' then
  redis.call('DEL', KEYS[1])
end
local now = now_milliseconds()
redis.call('LPUSH', KEYS[1], string.format('%d ', now) .. ARGV[1])
redis.call('LTRIM', KEYS[1], 0, ARGV[3] - 1)
while true do
  local oldest = redis.call('LRANGE', KEYS[1], -1, -1)[1]
  local at = tonumber(string.match(oldest, '^(%d+) '))
  if at and at <= now and at > now - ARGV[2] then
    break -- at the latest, the loop ends at the new record
  end
  redis.call('LTRIM', KEYS[1], 0, -2)
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
