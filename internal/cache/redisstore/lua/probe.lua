-- Checks that this server runs scripts, and that they may write.
-- KEYS: probe. ARGV: its life in milliseconds.
redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
return 1
