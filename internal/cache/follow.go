package cache

import "golang.org/x/sync/errgroup"

// maxLookUps limits how many tokens the Cache compares with the Store at once: maxLookUps tokens
// that the Store has reported as changed, and maxLookUps others after changes may have been missed.
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

// changed handles a change of the token in the Store. If the Cache has a token or a failure for the
// token key, it reads the Store again.
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

// missed handles possibly missed changes: the Cache compares every token with the one in the Store
// before callers get it again. The Cache also compares all tokens in the background, because the
// callers of watches must get changed tokens, and because the Store may have lost its tokens.
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
