package cache

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/authmaterial/broker/internal/token"
)

// readingError is the least by which the time at which a token was requested may differ from
// what another replica reads in the Store.
const readingError = 250 * time.Millisecond

// lookUp compares the token at hand with the Store's: the one that was requested later
// stays, here and there. It joins a look-up that is under way, and begins one only if that
// is still needed. It fails only when ctx ends before that.
func (e *entry) lookUp(ctx context.Context, needed func() bool) error {
	landing := e.lookUps.DoChan(e.key, func() (any, error) {
		land, ok := e.cache.takeOff()
		if !ok {
			return nil, errStopping
		}
		defer land()
		if needed() {
			e.compare(e.cache.ctx)
		}
		return nil, nil
	})
	select {
	case <-landing:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// compare is one look of lookUp. A Store that fails counts as seen: it says that news
// may have been missed when it is back.
func (e *entry) compare(ctx context.Context) {
	seen := e.look()
	record, err := e.cache.options.Store.Load(ctx, e.key)
	if err != nil && ctx.Err() != nil {
		return // it was not the Store that failed
	}
	if err == nil && record.Token != nil {
		e.adoptLoaded(record.Token, seen)
	}
	if h := e.held.Load(); h != nil {
		raise(&h.epoch, seen.epoch)
	}
	raise(&e.failureEpoch, seen.epoch)
	if err == nil && seen.held != nil && e.lacks(record.Token, seen.held) {
		e.offer(seen.held)
	}
}

// raise makes a number that one, unless it is more already.
func raise(number *atomic.Uint64, to uint64) {
	for now := number.Load(); now < to && !number.CompareAndSwap(now, to); now = number.Load() {
	}
}

// adoptLoaded makes t the token at hand unless the one there was requested later. It was
// read without a lease after the sight seen: a token that came to hand since may be what
// overtook it.
func (e *entry) adoptLoaded(t *token.Token, seen sight) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.held.Load()
	switch {
	case e.hasRejected(t), h != nil && !t.Succeeds(h.token):
	case h != nil && h == seen.held && precedes(t, h.token):
	case h != seen.held && e.isOlder(t):
	default:
		e.replaceHeld(t, seen)
	}
}

// precedes reports whether t was requested before another token, for certain.
func precedes(t, other *token.Token) bool {
	return !t.Value.Equal(other.Value) && other.RequestedAt.Sub(t.RequestedAt) > max(readingError, t.RequestedWithin)
}

// isOlder reports whether the token at hand was requested after t, which is another.
func (e *entry) isOlder(t *token.Token) bool {
	h := e.held.Load()
	return h != nil && !h.token.Value.Equal(t.Value) && t.RequestedAt.Before(h.token.RequestedAt)
}

// lacks reports whether the Store should have the token of h, and has stored instead of it.
func (e *entry) lacks(stored *token.Token, h *heldToken) bool {
	if e.held.Load() != h || !e.cache.options.Clock.Now().Before(h.expireTime) {
		return false
	}
	return stored == nil || precedes(stored, h.token) || e.isRejected(stored)
}

// offer puts the token of h into the Store, which lost it or never had it: the Store
// was out of reach, or restarted empty.
func (e *entry) offer(h *heldToken) {
	if !h.offered.CompareAndSwap(false, true) {
		return // it is under way
	}
	land, ok := e.cache.takeOff()
	if !ok {
		return
	}
	go func() {
		defer land()
		defer h.offered.Store(false)
		ctx := e.cache.ctx // until h is replaced or expires: others may hold the lease for long
		seen := e.look()
		record, lease, err := e.cache.options.Store.Lock(ctx, e.key, func(record Record) bool {
			return !e.lacks(record.Token, h)
		})
		if err != nil || lease == nil {
			return // the Store is out of reach, or has this token or a newer one
		}
		defer lease.Release()
		rejected := record.Token != nil && e.isRejected(record.Token)
		standing, err := lease.Commit(ctx, h.token, rejected)
		switch {
		case err != nil, same(standing, h.token):
		case standing == nil, same(standing, record.Token):
			e.giveWay(h, standing, seen)
		default:
			e.adoptLoaded(standing, seen)
		}
	}()
}

// same reports whether two tokens are one, or both none.
func same(a, b *token.Token) bool {
	return a == b || a != nil && b != nil && a.Value.Equal(b.Value)
}

// giveWay replaces the token of h, which the Store does not take because it was rejected,
// by the one there, or by none.
func (e *entry) giveWay(h *heldToken, standing *token.Token, seen sight) {
	e.reject(h.token)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.held.Load() != h:
	case standing != nil && !e.hasRejected(standing):
		e.replaceHeld(standing, seen)
	default:
		e.held.Store(nil)
		e.stopTimer()
	}
}
