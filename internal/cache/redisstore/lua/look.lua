-- Returns the token and the failure at a name, each with the milliseconds that it has left;
-- and the time in milliseconds. A key that holds no string, or one of more bytes than the
-- broker stores, counts as empty: the next write replaces it. A lock without an expiry is
-- not the broker's. It is removed.
-- KEYS: token, failure, lock. ARGV: the most bytes of an entry.
local function read(key)
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then
    return false
  elseif kind ~= 'string' then
    return ''
  end
  local value = redis.call('GETRANGE', key, 0, ARGV[1])
  return #value <= tonumber(ARGV[1]) and value or ''
end

if redis.call('EXISTS', KEYS[3]) == 1
  and (redis.call('TYPE', KEYS[3]).ok ~= 'string' or redis.call('PTTL', KEYS[3]) < 0) then
  redis.call('DEL', KEYS[3])
end
local now = redis.call('TIME')
return {
  read(KEYS[1]), redis.call('PTTL', KEYS[1]),
  read(KEYS[2]), redis.call('PTTL', KEYS[2]),
  now[1] * 1000 + math.floor(now[2] / 1000),
}
