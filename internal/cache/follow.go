package cache

import "context"

// Follow hears of what other replicas put into the Store, until the Cache closes. It is called once.
func (c *Cache) Follow() {
	store, ok := c.options.Store.(follower)
	if !ok {
		return
	}
	// Close does not wait for it: a read that waits for news may not be cut short.
	go store.Follow(c.ctx, News{
		Changed: c.changed,
		Forgotten: func() {
			c.eachEntry((*entry).forgetFailure)
			c.options.Forgotten()
		},
		Missed: c.missed,
	})
}

// changed has a token looked up that another replica changed, where this one knows it.
// A flight that is under way may have read before the change: adopt sees to that.
func (c *Cache) changed(key string) {
	if found, ok := c.entries.Load(key); ok {
		e := found.(*entry)
		e.changes.Add(1)
		if e.isKnown() {
			c.changes.add(e)
		}
	}
}

// missed has every token looked up: those that are asked for before they are served, and
// all in the background, for those who watch them, and because the Store may lack them.
func (c *Cache) missed() {
	c.epoch.Add(1)
	c.eachEntry(func(e *entry) {
		if e.outOfDate() {
			c.outOfDate.add(e)
		}
	})
}

// eachEntry calls do with every entry.
func (c *Cache) eachEntry(do func(*entry)) {
	c.entries.Range(func(_, value any) bool {
		do(value.(*entry))
		return true
	})
}

// sight is how recent something is that was read in the Store, or put there, after it
// was taken.
type sight struct {
	held    *heldToken // the one at hand
	epoch   uint64     // of the Cache
	changes uint64     // of the entry
}

// look takes a sight.
func (e *entry) look() sight {
	return sight{held: e.held.Load(), epoch: e.cache.epoch.Load(), changes: e.changes.Load()}
}

// isKnown reports whether there is something that news could change.
func (e *entry) isKnown() bool { return e.held.Load() != nil || e.failure.Load() != nil }

// outOfDate reports whether news of the token may have been missed since it was last seen
// in the Store.
func (e *entry) outOfDate() bool {
	epoch := e.cache.epoch.Load()
	if h := e.held.Load(); h != nil {
		return h.epoch.Load() != epoch
	}
	return e.failure.Load() != nil && e.failureEpoch.Load() != epoch
}

// catchUp looks the token up while it is out of date, until ctx ends.
func (e *entry) catchUp(ctx context.Context) {
	// A look-up that this joins may have begun before the news was missed.
	for range maxJoins {
		if !e.outOfDate() || e.lookUp(ctx, e.outOfDate) != nil {
			return
		}
	}
}

// lookUpAgain looks the token up, whoever does so at present: that one may have read
// before the change.
func (e *entry) lookUpAgain() {
	e.lookUps.Forget(e.key)
	_ = e.lookUp(e.cache.ctx, func() bool { return true })
}
