-- Stores a token, if the lock is its owner's or free, the token that is there is the one
-- that the owner saw or gone, and the new one was not rejected before.
-- KEYS: token, failure, lock, rejected, forced.
-- ARGV: the lock's owner; the token that the owner saw, or ''; the new one; its life in
-- milliseconds, and from which time on; the fingerprint of the rejected one, or ''; how many
-- rejected ones and how many forced renewals to keep; for how many milliseconds each; the
-- most bytes of an entry; the fingerprints of the new one.
-- Returns CHANGED with the token that is there and its life, LATE, LOST, REJECTED with the
-- like, or STORED.
local token, failure, lock, rejected, forced = unpack(KEYS)
local owner, seen, fresh, life, from, refused = unpack(ARGV, 1, 6)
local keepRejected, keepForced, lifeRejected, lifeForced = unpack(ARGV, 7, 10)
local most = tonumber(ARGV[11])

local function string_at(key)
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then
    return false
  end
  local value = kind == 'string' and redis.call('GETRANGE', key, 0, most) or ''
  return #value <= most and value or ''
end

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

local current = string_at(token)
for i = 12, #ARGV do
  if ARGV[i] == refused then -- the provider issued the same one again
    return {'REJECTED', current, redis.call('PTTL', token)}
  end
end
if refused ~= '' and not is_listed(rejected, refused) then
  push(rejected, refused, keepRejected, lifeRejected)
end
if current and current ~= seen then
  return {'CHANGED', current, redis.call('PTTL', token)}
end
local holder = string_at(lock)
if holder and holder ~= owner then
  return {'LOST'}
end
for i = 12, #ARGV do
  if is_listed(rejected, ARGV[i]) then
    return {'REJECTED', current, redis.call('PTTL', token)}
  end
end
-- A server that was stopped runs this when it goes on.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
life = life - math.max(0, now - from)
if life < 1 then
  return {'LATE'}
end
if refused ~= '' then
  push(forced, now, keepForced, lifeForced)
end
redis.call('SET', token, fresh, 'PX', life)
redis.call('DEL', failure)
return {'STORED'}
