-- Stores a failure, if the lock is its owner's or free, and the token is the one that the owner found
-- or gone. Returns 1, or 0 when it did not.
-- KEYS: failure, lock, token. ARGV: the lock's owner; the failure; its life in milliseconds; the token
-- that the owner found, or ''; the most bytes of an entry.
local holder, current = entry_at(KEYS[2], ARGV[5]), entry_at(KEYS[3], ARGV[5])
if holder and holder ~= ARGV[1] or current and current ~= ARGV[4] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
