-- This script stores a failure if no replica other than the owner has the lock, and if the stored
-- token is the one that the owner read before (or there is none). The script returns 1 if it stored
-- the failure, else 0. KEYS contains the Redis keys of the failure, the lock and the token. ARGV
-- contains the lock's owner; the entry of the failure; its life in milliseconds; the entry of the
-- token that the owner read before, or ''; the size limit of an entry in bytes.
local holder, current = entry_at(KEYS[2], ARGV[5]), entry_at(KEYS[3], ARGV[5])
if holder and holder ~= ARGV[1] or current and current ~= ARGV[4] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
