-- Adds an event to the stream, which ends when there are none for long.
-- KEYS: the stream. ARGV: '=' or '~' to keep exactly or about so many events; how many; for
-- how many milliseconds; the event's kind, its name, and who tells of it.
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[1], ARGV[2], '*', 'kind', ARGV[4], 'name', ARGV[5], 'by', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
