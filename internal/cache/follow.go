package cache

import (
	"context"

	"github.com/authmaterial/broker/internal/token"
)

// follow hears of what other replicas put into the Store, until the Cache closes.
func (c *Cache) follow() {
	store, ok := c.options.Store.(follower)
	if !ok {
		return
	}
	// Close does not wait for it: a read that waits for news may not be cut short.
	go store.Follow(c.ctx, News{
		Changed:   c.changed,
		Forgotten: func() { c.eachEntry((*entry).forgetFailure) },
		Missed:    func() { c.epoch.Add(1) },
	})
}

// changed looks a token up that another replica changed, where this one knows it.
func (c *Cache) changed(key string) {
	found, ok := c.entries.Load(key)
	if !ok {
		return
	}
	e := found.(*entry)
	if e.held.Load() == nil && e.failure.Load() == nil {
		return // nobody has it
	}
	land, ok := c.takeOff()
	if !ok {
		return
	}
	go func() {
		defer land()
		// A look-up that is under way may have read before the change.
		e.lookUps.Forget(e.key)
		_ = e.lookUp(c.ctx)
	}()
}

// eachEntry calls do with every entry.
func (c *Cache) eachEntry(do func(*entry)) {
	c.entries.Range(func(_, value any) bool {
		do(value.(*entry))
		return true
	})
}

// outOfDate says whether news of the token at hand may have been missed.
func (e *entry) outOfDate() bool {
	h := e.held.Load()
	return h != nil && h.epoch.Load() != e.cache.epoch.Load()
}

// lookUp compares the token at hand with the Store's: the one that was requested later
// stays, here and there. It joins a look-up that is under way, and fails only when ctx
// ends before that.
func (e *entry) lookUp(ctx context.Context) error {
	landing := e.lookUps.DoChan(e.key, func() (any, error) {
		land, ok := e.cache.takeOff()
		if !ok {
			return nil, errStopping
		}
		defer land()
		e.compare(e.cache.ctx)
		return nil, nil
	})
	select {
	case <-landing:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// compare is one look of lookUp.
func (e *entry) compare(ctx context.Context) {
	epoch := e.cache.epoch.Load()
	before := e.held.Load()
	record, err := e.cache.options.Store.Load(ctx, e.key)
	if err == nil && record.Token != nil {
		e.adoptLoaded(record.Token)
	}
	if h := e.held.Load(); h != nil {
		h.epoch.Store(epoch)
	}
	if err == nil && before != nil && e.lacks(record.Token, before) {
		e.offer(before)
	}
}

// adoptLoaded makes t the token at hand unless the one there was requested later: what
// was read without a lease may have been overtaken since.
func (e *entry) adoptLoaded(t *token.Token) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if h := e.held.Load(); h != nil && (h.token.Value.Equal(t.Value) || e.isOlder(t)) {
		return
	}
	if e.hasRejected(t) {
		return
	}
	e.replaceHeld(t)
}

// isOlder says whether the token at hand is valid and was requested after t, which is
// another.
func (e *entry) isOlder(t *token.Token) bool {
	h := e.valid()
	return h != nil && !h.token.Value.Equal(t.Value) && t.RequestedAt.Before(h.token.RequestedAt)
}

// lacks says whether the Store should have the token of h, and has stored instead of it.
func (e *entry) lacks(stored *token.Token, h *heldToken) bool {
	if e.held.Load() != h || !e.cache.options.Clock.Now().Before(h.expireTime) || e.isRejected(h.token) {
		return false
	}
	return stored == nil || e.isOlder(stored) || e.isRejected(stored)
}

// offer puts the token of h into the Store, which lost it or never had it: the Store
// was out of reach, or restarted empty.
func (e *entry) offer(h *heldToken) {
	land, ok := e.cache.takeOff()
	if !ok {
		return
	}
	go func() {
		defer land()
		ctx, cancel := context.WithTimeout(e.cache.ctx, flightTimeout)
		defer cancel()
		record, lease, err := e.cache.options.Store.Lock(ctx, e.key, func(record Record) bool {
			return !e.lacks(record.Token, h)
		})
		if err != nil || lease == nil {
			return // whoever locks it has a newer one, or has this one in a moment
		}
		defer lease.Release()
		rejected := record.Token != nil && e.isRejected(record.Token)
		if standing, err := lease.Commit(ctx, h.token, rejected); err == nil && standing != nil {
			e.adoptLoaded(standing)
		}
	}()
}

// current returns the fleet's current token, fetching one where there is none.
func (e *entry) current(ctx context.Context) (*token.Token, error) {
	e.compare(ctx)
	if h := e.valid(); h != nil {
		return e.serve(h), nil
	}
	return e.wait(ctx)
}
