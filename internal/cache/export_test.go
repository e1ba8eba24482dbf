package cache

func Len(c *Cache) (count int) {
	c.eachEntry(func(*entry) { count++ })
	return count
}
