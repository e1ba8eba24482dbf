package cache

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/authmaterial/broker/internal/token"
)

// isOutOfDate reports whether the entry may have missed a change in the Store.
func (e *entry) isOutOfDate() bool {
	s := e.snapshot.Load()
	return s.isKnown() && s.epoch != e.cache.epoch.Load()
}

// If the entry is out of date, catchUp compares its token with the Store, and returns when this is
// done or when ctx ends. A comparison that was already under way may have begun too early, so
// catchUp waits for it and repeats it if necessary.
func (e *entry) catchUp(ctx context.Context) {
	for range maxJoins {
		if !e.isOutOfDate() {
			return
		}
		lookedUp := e.share("look up", func() {
			if e.isOutOfDate() {
				e.lookUp(e.cache.ctx)
			}
		})
		select {
		case <-lookedUp:
		case <-ctx.Done():
			return
		}
	}
}

// share runs f in the background, unless a function that was started under the same name is still
// running.
func (e *entry) share(name string, f func()) (ended <-chan singleflight.Result) {
	return e.shared.DoChan(name, func() (any, error) {
		if done, ok := e.cache.begin(); ok {
			defer done()
			f()
		}
		return nil, nil
	})
}

// resync compares the token with the Store in the background. If a comparison is already under way,
// another comparison follows. The caller must hold e.mu.
func (e *entry) resync() {
	e.update(func(s *snapshot) { s.news++ })
	if e.resyncing {
		return
	}
	e.resyncing = e.cache.start(func() {
		for again := true; again; {
			e.cache.lookUps <- struct{}{}
			seen := e.stamp()
			e.lookUp(e.cache.ctx)
			<-e.cache.lookUps
			e.mu.Lock()
			again = e.snapshot.Load().news != seen.news
			e.resyncing = again
			e.mu.Unlock()
		}
	})
}

// lookUp reads the Store, and compares the current token with the stored one. If the Store fails,
// the entry no longer counts as out of date. When the Store works again, it calls News.Missed, and
// the token is compared again.
func (e *entry) lookUp(ctx context.Context) {
	seen := e.stamp()
	record, err := e.cache.options.Store.Load(ctx, e.key)
	if err != nil && ctx.Err() != nil {
		return // the caller was cancelled, so the Store did not fail
	}
	lacks := err == nil && e.compareStored(record.Token, seen)
	e.mu.Lock()
	e.update(func(s *snapshot) { s.epoch = max(s.epoch, seen.cacheEpoch) })
	e.mu.Unlock()
	if lacks {
		e.share(fmt.Sprintf("republish %p", seen.token), func() { e.republish(seen.token) })
	}
}

// compareStored makes either the current or the stored token the current one. The argument `stored`
// may be nil. The stamp `seen` must be from before `stored` was read. The result reports whether
// the current token should be put into the Store, because the Store lacks a token, or has one that
// is older or was reported.
func (e *entry) compareStored(stored *token.Token, seen stamp) (lacks bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	usable := stored != nil && !e.isRejected(stored)
	if usable {
		e.choose(stored, seen)
	}
	s := e.snapshot.Load()
	return s.token == seen.token && s.isFresh(e.cache.options.Clock.Now()) && (!usable || newer(s.token, stored))
}

// republish puts the current token t into a Store that lost it, or that never received it because
// the Store could not be reached. republish first waits for the lease, but only as long as t is
// unexpired and current.
func (e *entry) republish(t *token.Token) {
	ctx, seen := e.cache.ctx, e.stamp()
	record, lease, err := e.cache.options.Store.Lock(ctx, e.key, func(record Record) bool {
		lacks := e.compareStored(record.Token, seen)
		seen = e.stamp()
		return !lacks || seen.token != t
	})
	if err != nil || lease == nil {
		return
	}
	defer lease.Release()
	e.mu.Lock()
	rejected := record.Token != nil && e.isRejected(record.Token)
	e.mu.Unlock()
	stored, err := lease.Commit(ctx, t, rejected)
	if err != nil || stored != nil && stored.Value.Equal(t.Value) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if isRefused(t, stored, record) {
		e.withdraw(t, stored, seen)
	} else {
		e.resync()
	}
}

// withdraw stops the use of t, which was reported to another replica. The stored token, which may
// be nil, becomes the current one unless it was reported too. The caller must hold e.mu.
func (e *entry) withdraw(t, stored *token.Token, seen stamp) {
	e.addRejected(t)
	switch {
	case e.snapshot.Load().token != t:
	case stored != nil && !e.isRejected(stored):
		e.setToken(stored, seen)
	default:
		e.stopTimer()
		e.update(func(s *snapshot) { s.token, s.expireTime, s.renewTime = nil, time.Time{}, time.Time{} })
	}
}
