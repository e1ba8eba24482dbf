package cache

import "golang.org/x/sync/errgroup"

// maxLookUps is how many tokens are looked up at once after news was missed.
const maxLookUps = 8

// Follow receives news of the Store until the Cache closes. It is called once.
func (c *Cache) Follow() {
	store, ok := c.options.Store.(follower)
	if !ok {
		return
	}
	// Close does not wait for its end, because a read that waits for news may go on for a while.
	go store.Follow(c.ctx, News{
		Changed: c.changed,
		Forgotten: func() {
			c.eachEntry((*entry).forgetFailure)
			c.options.Forgotten()
		},
		Missed: c.missed,
	})
}

// changed compares the token of a key with the Store's again, where this replica has one.
func (c *Cache) changed(key string) {
	found, ok := c.entries.Load(key)
	if !ok {
		return
	}
	e := found.(*entry)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.snapshot.Load().isKnown() {
		e.resync()
	} else {
		e.update(func(s *snapshot) { s.news++ }) // a refresh may have read the Store before the change
	}
}

// missed compares every token with the Store's: before it is served again, and also in the background,
// because callers may watch it, and the Store may lack it.
func (c *Cache) missed() {
	epoch := c.epoch.Add(1)
	c.start(func() {
		var lookUps errgroup.Group
		lookUps.SetLimit(maxLookUps)
		c.eachEntry(func(e *entry) {
			if e.isOutOfDate() && c.epoch.Load() == epoch {
				lookUps.Go(func() error { e.catchUp(c.ctx); return nil })
			}
		})
		_ = lookUps.Wait()
	})
}

// eachEntry calls do with every entry.
func (c *Cache) eachEntry(do func(*entry)) {
	c.entries.Range(func(_, value any) bool {
		do(value.(*entry))
		return true
	})
}
