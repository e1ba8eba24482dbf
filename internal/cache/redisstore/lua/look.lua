-- Returns the token and the failure of a key set, each with the milliseconds that it has left; the
-- time in milliseconds; and 1 when this owner has the lock. Without an owner it takes no lock. An owner
-- whose first reply was lost gets the lock again. A lock of another type, or one that does not expire, is
-- not the broker's, and is removed.
-- KEYS: token, failure, lock. ARGV: the most bytes of an entry; the owner, or ''; the lock's life in
-- milliseconds.
if redis.call('EXISTS', KEYS[3]) == 1
  and (redis.call('TYPE', KEYS[3]).ok ~= 'string' or redis.call('PTTL', KEYS[3]) < 0) then
  redis.call('DEL', KEYS[3])
end
local locked = false
if ARGV[2] ~= '' then
  local holder = redis.call('GET', KEYS[3])
  if not holder or holder == ARGV[2] then
    redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
    locked = 1
  end
end
return {
  entry_at(KEYS[1], ARGV[1]), redis.call('PTTL', KEYS[1]),
  entry_at(KEYS[2], ARGV[1]), redis.call('PTTL', KEYS[2]),
  now_milliseconds(), locked,
}
