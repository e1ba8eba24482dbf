-- This script replaces an entry, unless another replica has replaced it meanwhile. KEYS contains its
-- Redis key. ARGV contains the size limit of an entry in bytes; the beginning of the entry that was
-- read, or '' if there was none; the new entry; the life of the new entry in milliseconds. The
-- script returns 1 if the entry was replaced.
local found = entry_at(KEYS[1], ARGV[1]) or ''
if string.sub(found, 1, #ARGV[2]) ~= ARGV[2] or (ARGV[2] == '' and found ~= '') then
  return 0
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
