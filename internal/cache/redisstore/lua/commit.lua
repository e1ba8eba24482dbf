-- This script stores a token if no replica other than the owner has the lock, if the stored entry
-- is the one that the owner read before (or there is none), and if the token was not rejected
-- before. KEYS contains the Redis keys of the token, the failure, the lock, the rejected tokens and
-- the forced renewals. ARGV contains the lock's owner; the entry that the owner read before, or '';
-- the new entry; its life in milliseconds; the time from which that life counts; the fingerprint of
-- the previous token if it was rejected, or ''; the maximum number of rejected tokens; the maximum
-- number of forced renewals; the life of the list of rejected tokens in milliseconds; the life of
-- the list of forced renewals in milliseconds; the size limit of an entry in bytes; the
-- fingerprints of the new token. The script returns STORED, LATE, LOST, REJECTED or CHANGED; the
-- entry that was stored before the script ran; and its remaining life in milliseconds.
local token, failure, lock, rejected, forced = unpack(KEYS)
local owner, found, fresh, life, from, former = unpack(ARGV, 1, 6)
local keepRejected, keepForced, lifeRejected, lifeForced = unpack(ARGV, 7, 10)
local most = ARGV[11]

local function is_listed(key, value)
  for _, listed in ipairs(redis.call('LRANGE', key, 0, keepRejected - 1)) do
    if listed == value then
      return true
    end
  end
  return false
end

-- push adds a value to the front of a list, and limits the list's length and life.
local function push(key, value, keep, milliseconds)
  redis.call('LPUSH', key, value)
  redis.call('LTRIM', key, 0, keep - 1)
  redis.call('PEXPIRE', key, milliseconds)
end

for _, key in ipairs({rejected, forced}) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'list' and kind ~= 'none' then
    redis.call('DEL', key)
  end
end

local current = entry_at(token, most)

local function answer(outcome)
  return {outcome, current, redis.call('PTTL', token)}
end

for i = 12, #ARGV do
  if ARGV[i] == former then -- the provider issued the rejected token again
    return answer('REJECTED')
  end
end
if former ~= '' and not is_listed(rejected, former) then
  push(rejected, former, keepRejected, lifeRejected)
end
if current and current ~= found then
  return answer('CHANGED')
end
local holder = entry_at(lock, most)
if holder and holder ~= owner then
  return answer('LOST')
end
for i = 12, #ARGV do
  if is_listed(rejected, ARGV[i]) then
    return answer('REJECTED')
  end
end
-- A server that was suspended may run this script late, so the delay is subtracted from the life of
-- the new entry.
local now = now_milliseconds()
life = life - math.max(0, now - from)
if life < 1 then
  return answer('LATE')
end
if former ~= '' then
  push(forced, now, keepForced, lifeForced)
end
redis.call('SET', token, fresh, 'PX', life)
redis.call('DEL', failure)
return answer('STORED')
