-- Adds an event to the stream, which ends when there are none for long.
-- KEYS: the stream. ARGV: how many events to keep, about; for how many milliseconds; the
-- event's kind, its name, and who tells of it.
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'kind', ARGV[3], 'name', ARGV[4], 'by', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
