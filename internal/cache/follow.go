package cache

import "golang.org/x/sync/errgroup"

// maxLookUps limits how many tokens are compared with the Store at the same time. Comparisons after
// reported changes and comparisons after possibly missed changes are limited separately.
const maxLookUps = 8

// Follow makes the Cache receive the changes that other processes make in the Store, until the
// Cache closes. Follow is called once.
func (c *Cache) Follow() {
	store, ok := c.options.Store.(follower)
	if !ok {
		return
	}
	// Close does not wait for the end of store.Follow, because a read of changes may take a while.
	go store.Follow(c.ctx, News{
		Changed: c.changed,
		Forgotten: func() {
			c.eachEntry((*entry).forgetFailure)
			c.options.Forgotten()
		},
		Missed: c.missed,
	})
}

// changed compares this replica's token of a key, if any, with the Store again.
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
		e.update(func(s *snapshot) { s.news++ }) // a running refresh may have read the Store before the change
	}
}

// missed makes the Cache compare every token with the Store before callers get it again. The tokens
// are also compared in the background, because callers may watch them, and because the Store may
// have lost them.
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

func (c *Cache) eachEntry(do func(*entry)) {
	c.entries.Range(func(_, value any) bool {
		do(value.(*entry))
		return true
	})
}
