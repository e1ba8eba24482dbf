package cache

import "golang.org/x/sync/errgroup"

// maxLookUps limits how many tokens are compared with the Store at the same time after reported
// changes, and how many after changes may have been missed.
const maxLookUps = 8

// Follow makes the Cache receive the changes that other processes make in the Store, until the
// Cache closes. Follow is called once.
func (c *Cache) Follow() {
	store, ok := c.options.Store.(follower)
	if !ok {
		return
	}
	// Close does not wait for this goroutine, because a read of changes from the Store may take a
	// while.
	go store.Follow(c.ctx, News{
		Changed: c.changed,
		Forgotten: func() {
			c.eachEntry((*entry).forgetFailure)
			c.options.Forgotten()
		},
		Missed: c.missed,
	})
}

// changed compares the token of a key with the Store again, if this replica has one.
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

// missed makes the Cache compare every token with the Store before callers get it again. The
// comparison is also made in the background, because callers may watch the token, and because the
// Store may have lost it.
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
