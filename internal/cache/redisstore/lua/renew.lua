-- Sets the life of a lock that is still the owner's, in milliseconds; 0 releases it. Returns 1 if the
-- lock was the owner's.
-- KEYS: lock. ARGV: the owner, the life.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
