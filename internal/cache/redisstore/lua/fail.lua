-- Stores a failure, if the lock is its owner's or free, and the token that is there is the
-- one that the owner saw or gone. Returns 1, or 0 when it did not.
-- KEYS: failure, lock, token. ARGV: the lock's owner, the failure, its life in
-- milliseconds, the token that the owner saw, or '', the most bytes of an entry.
local function string_at(key)
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then
    return false
  end
  local value = kind == 'string' and redis.call('GETRANGE', key, 0, ARGV[5]) or ''
  return #value <= tonumber(ARGV[5]) and value or ''
end

local holder, current = string_at(KEYS[2]), string_at(KEYS[3])
if holder and holder ~= ARGV[1] or current and current ~= ARGV[4] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
