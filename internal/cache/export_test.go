package cache

// Len returns the number of token keys in the Cache.
func Len(c *Cache) (count int) {
	c.eachEntry(func(*entry) { count++ })
	return count
}
