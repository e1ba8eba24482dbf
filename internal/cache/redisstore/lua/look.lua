-- This script reads the entries of one token: the token itself, and the failure of its last token
-- request. If an owner is given, the script also takes the lock for that owner. An owner whose
-- first reply was lost gets the lock again. A lock that is not a string, or that does not expire,
-- was not written by a broker, so it is removed. KEYS contains the Redis keys of the token, the
-- failure and the lock. ARGV contains the size limit of an entry in bytes, the owner or '', and the
-- life of the lock in milliseconds. The script returns the entry of the token; its remaining life
-- in milliseconds; the entry of the failure; its remaining life in milliseconds; the time of Redis'
-- clock in milliseconds; and 1 if the owner has the lock.
if redis.call('EXISTS', KEYS[3]) == 1
  and (redis.call('TYPE', KEYS[3]).ok ~= 'string' or redis.call('PTTL', KEYS[3]) < 0) then
  redis.call('DEL', KEYS[3])
end
local locked = false
if ARGV[2] ~= '' then
  -- SET writes even if the lock is held, so that the broker notices a server that accepts no
  -- writes.
  if redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3], 'NX') then
    locked = 1
  elseif redis.call('GET', KEYS[3]) == ARGV[2] then
    redis.call('PEXPIRE', KEYS[3], ARGV[3])
    locked = 1
  end
end
return {
  entry_at(KEYS[1], ARGV[1]), redis.call('PTTL', KEYS[1]),
  entry_at(KEYS[2], ARGV[1]), redis.call('PTTL', KEYS[2]),
  now_milliseconds(), locked,
}
