package cache

import (
	"context"
	"time"

	"github.com/authmaterial/broker/internal/token"
)

// serve returns the token of the snapshot to a caller, and schedules the token's renewal if the
// token has not been served before.
func (e *entry) serve(s *snapshot) *token.Token {
	if !s.served {
		e.noteServed()
	}
	return s.token
}

// noteServed records that a caller received the current token, and schedules its renewal.
func (e *entry) noteServed() {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.snapshot.Load()
	if s.token == nil || s.served || e.retired {
		return
	}
	e.update(func(s *snapshot) { s.served = true })
	e.schedule(s.token, s.token.RenewTime(e.cache.options.Random()))
}

// KeepWarm obtains the source's token if there is no unexpired one, and schedules the renewal of the
// token if it may begin within the given time. KeepWarm makes token requests in the background, and
// none while an earlier failure forbids them. To keep a token unexpired, call KeepWarm again within
// the given time.
func (c *Cache) KeepWarm(source Source, ahead time.Duration) {
	e := c.entry(source)
	s, now := e.snapshot.Load(), c.options.Clock.Now()
	switch {
	case !s.isFresh(now):
		if !s.failure.prevents(now, true) {
			e.refresh(context.Background(), refresh{})
		}
	case !s.served && !now.Add(ahead).Before(s.token.RenewTime(0)):
		e.noteServed()
	}
}

// schedule schedules the renewal of t. The caller must hold e.mu.
func (e *entry) schedule(t *token.Token, at time.Time) {
	if s := e.snapshot.Load(); s.token != t || !s.served || e.cache.ctx.Err() != nil {
		return
	}
	e.update(func(s *snapshot) { s.renewTime = at })
	clock := e.cache.options.Clock
	e.timer = clock.AfterFunc(at.Sub(clock.Now()), func() { go e.renew(t) })
}

// stopTimer cancels the scheduled renewal. The caller must hold e.mu.
func (e *entry) stopTimer() {
	if e.timer != nil {
		e.timer.Stop()
	}
}

// renew fetches the successor of t in the background. After a failure, renew schedules another
// attempt.
func (e *entry) renew(t *token.Token) {
	result := <-e.refresh(context.Background(), refresh{old: t, renewal: true})
	for result.Err == nil && result.Val == t { // renew has joined the refresh that fetched t
		result = <-e.refresh(context.Background(), refresh{old: t, renewal: true})
	}
	now := e.cache.options.Clock.Now()
	if result.Err == nil && now.Before(t.ExpireTime()) {
		e.observer.Renewed(Early)
	}
	if result.Err == nil || e.cache.ctx.Err() != nil {
		return
	}
	next := now.Add(firstBackoff)
	if failure := e.snapshot.Load().failure; failure.prevents(now, true) {
		next = failure.RenewalUntil
	}
	e.observer.RenewalFailed(result.Err, next, t.LastEnd())
	if next.Before(t.LastEnd()) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.schedule(t, next)
	}
}

// forgetFailure removes the entry's failure, so that token requests are allowed at once. A renewal
// that failed before is tried again.
func (e *entry) forgetFailure() {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.snapshot.Load()
	e.update(func(s *snapshot) { s.failure = nil })
	if s.failure != nil && s.served && s.isValid(e.cache.options.Clock.Now()) {
		e.stopTimer()
		go e.renew(s.token)
	}
}

// retire ends the renewals of the entry's token for good. A call that is under way may still
// receive the token. The result is a new entry with the same content, which may replace the retired
// one.
func (e *entry) retire() (successor *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.retired = true
	e.update(func(s *snapshot) { s.served, s.renewTime = false, time.Time{} })
	e.stopTimer()
	successor = &entry{
		cache: e.cache, key: e.key, source: e.source, observer: e.observer, warm: e.warm,
		rejected: e.rejected, pending: e.pending, forced: e.forced,
	}
	successor.snapshot.Store(e.snapshot.Load())
	return successor
}
