-- Stores a failure, if the lock is its owner's or free.
-- KEYS: failure, lock. ARGV: the lock's owner, the failure, its life in milliseconds.
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'none' and (kind ~= 'string' or redis.call('GET', KEYS[2]) ~= ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
