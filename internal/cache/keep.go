package cache

import "github.com/authmaterial/broker/internal/token"

// Keep gives the Cache a token that was requested without the Cache, for example to verify a
// credential. The new token becomes the current one only if there is no current token, or if the
// provider ended the current token by issuing the new one. A token that no caller receives is not
// renewed.
func (c *Cache) Keep(source Source, t *token.Token) {
	e := c.entry(source)
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.snapshot.Load(); s.isFresh(c.options.Clock.Now()) && !t.EndsPrevious {
		return
	}
	e.choose(t, e.stamp())
	e.resync() // puts the token into the Store
}
