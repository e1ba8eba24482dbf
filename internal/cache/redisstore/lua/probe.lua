-- This script writes a key, to check that the server runs scripts that write. KEYS contains the
-- Redis key to write. ARGV contains the life of the Redis key in milliseconds.
redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
return 1
