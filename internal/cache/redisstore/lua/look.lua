-- What lies at a name: the token and the failure, each with the milliseconds that it has
-- left; and the time in milliseconds. A key that holds something else than a string counts
-- as an empty one: what is written next replaces it. A lock that is there for ever is
-- nobody's, because those of the broker end by themselves. It is removed.
-- KEYS: token, failure, lock.
local function read(key)
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then
    return false
  elseif kind ~= 'string' then
    return ''
  end
  return redis.call('GET', key)
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
