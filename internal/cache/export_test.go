package cache

// Len returns how many keys a Cache knows.
func Len(c *Cache) (count int) {
	c.eachEntry(func(*entry) { count++ })
	return count
}
