-- Stores a token, if the lock is its owner's or free, the entry is the one that the owner found or
-- gone, and the token was not rejected before.
-- KEYS: token, failure, lock, rejected, forced.
-- ARGV: the lock's owner; the entry that the owner found, or ''; the new one; its life in milliseconds,
-- and the time from which that counts; the fingerprint of the token that was found, if it was
-- rejected, or ''; how many rejected tokens and how many forced renewals to keep; the life of each of
-- these lists in milliseconds; the most bytes of an entry; the fingerprints of the new token.
-- Returns STORED, LATE, LOST, REJECTED or CHANGED; the entry from before, and what it has left.
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

-- Adds to the front of a list of bounded length and life.
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
  if ARGV[i] == former then -- the provider issued the same one again
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
-- A server that was stopped runs this when it goes on.
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
