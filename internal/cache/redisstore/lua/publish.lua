-- This script adds an event to the stream, which expires if no event is added for a long time. KEYS
-- contains the Redis key of the stream. ARGV contains '=' to limit the number of events exactly, or
-- '~' to limit it approximately; the maximum number of events; the life of the stream in
-- milliseconds; the kind of the event; the name in the event; the ID of the replica that publishes
-- the event.
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[1], ARGV[2], '*', 'kind', ARGV[4], 'name', ARGV[5], 'by', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
