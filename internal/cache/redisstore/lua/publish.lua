-- Adds an event to the stream, which expires when there are no events for long.
-- KEYS: the stream. ARGV: '=' or '~' to keep exactly or about this number of events; the number; the
-- stream's life in milliseconds; the event's kind, its name, and the replica that publishes it.
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[1], ARGV[2], '*', 'kind', ARGV[4], 'name', ARGV[5], 'by', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
