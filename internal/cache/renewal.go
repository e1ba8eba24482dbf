package cache

import (
	"context"
	"time"

	"github.com/authmaterial/broker/internal/token"
)

// serve returns the token of h, and starts its renewal if that is due.
func (e *entry) serve(h *heldToken) *token.Token {
	if !h.served.Load() {
		h.served.Store(true)
	}
	if h.due.Load() {
		e.renewIfWanted(h)
	}
	return h.token
}

// renewIfWanted starts the renewal of a token that is due and was served.
func (e *entry) renewIfWanted(h *heldToken) {
	if h.served.Load() && h.due.CompareAndSwap(true, false) {
		go e.renew(h)
	}
}

// renew fetches the successor of h in the background, and tries again after a failure.
func (e *entry) renew(h *heldToken) {
	successor := func(t *token.Token) bool { return t.Succeeds(h.token) }
	result := <-e.fly(context.Background(), flight{accept: successor, renewal: true})
	for result.Err == nil && result.Val == h.token { // that was the flight that brought h
		result = <-e.fly(context.Background(), flight{accept: successor, renewal: true})
	}
	now := e.cache.options.Clock.Now()
	if result.Err == nil && now.Before(h.expireTime) {
		e.observer.Renewed(Early)
	}
	if result.Err == nil || e.cache.ctx.Err() != nil {
		return
	}
	next := now.Add(firstBackoff)
	if failure := e.failure.Load(); failure.holds(now, true) {
		next = failure.RenewalUntil
	}
	e.observer.RenewalFailed(result.Err, next, h.token.LastEnd())
	if next.Before(h.token.LastEnd()) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.schedule(h, next)
	}
}

// schedule makes h due at that time. The caller holds e.mu.
func (e *entry) schedule(h *heldToken, at time.Time) {
	if e.held.Load() != h || e.dropped {
		return
	}
	clock := e.cache.options.Clock
	e.timer = clock.AfterFunc(at.Sub(clock.Now()), func() {
		h.due.Store(true)
		e.renewIfWanted(h)
	})
}

// forgetFailure has the token asked for again at once, where that is due.
func (e *entry) forgetFailure() {
	failure := e.failure.Swap(nil)
	if h := e.valid(); failure != nil && h != nil {
		h.due.Store(true)
		e.renewIfWanted(h)
	}
}

// stopTimer stops the renewal that is scheduled. The caller holds e.mu.
func (e *entry) stopTimer() {
	if e.timer != nil {
		e.timer.Stop()
	}
}
