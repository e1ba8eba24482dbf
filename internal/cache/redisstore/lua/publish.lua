-- Adds an event to the stream, which ends when there are none for long.
-- KEYS: the stream. ARGV: how many events to keep, about; for how many milliseconds; the
-- event's kind, its name, and who tells of it.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'stream' and kind ~= 'none' then
  redis.call('DEL', KEYS[1])
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'kind', ARGV[3], 'name', ARGV[4], 'by', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
