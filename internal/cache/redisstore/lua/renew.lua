-- This script sets the remaining life of a lock if the owner still has it. A life of 0 releases the
-- lock. The script returns 1 if the owner had the lock, else 0. KEYS contains the Redis key of the
-- lock. ARGV contains the owner, and the remaining life to set in milliseconds.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
