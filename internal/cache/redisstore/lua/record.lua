-- This script reads an entry. KEYS contains its Redis key. ARGV contains the size limit of an entry
-- in bytes. The script returns the entry, and its remaining life in milliseconds.
return {entry_at(KEYS[1], ARGV[1]), redis.call('PTTL', KEYS[1])}
