package cache

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
	"golang.org/x/sync/singleflight"

	"github.com/authmaterial/broker/internal/token"
)

// These constants limit how many rejected versions an entry remembers.
const (
	maxRejected = 8  // versions of tokens that were replaced
	maxPending  = 64 // reported versions of tokens that this replica has not seen
)

// readingError is the inaccuracy of a token's request time after a replica has read the token from
// the Store. A token counts as newer only if it was requested later by more than readingError.
const readingError = 250 * time.Millisecond

// newer reports whether t is certainly newer than the other token. The Cache compares the ages of
// tokens only with this function (docs/adr/0022-newer-token.md).
func newer(t, other *token.Token) bool { return t.Newer(other, readingError) }

// An entry is the state of one token key in a Cache. A call that finds an unexpired token reads
// only the snapshot, and locks no mutex. Callers never wait for the token requests of another
// entry.
type entry struct {
	cache     *Cache
	key       string
	source    Source
	observer  Observer
	warm      Counter            // counter of the calls that are answered from memory
	refreshes singleflight.Group // the running token refresh, at most one
	shared    singleflight.Group // the functions that the method `share` is running

	// snapshot is never nil, and is replaced only while `mu` is locked.
	snapshot atomic.Pointer[snapshot]

	mu        sync.Mutex      // mutex that guards the fields below
	timer     clockwork.Timer // timer of the next renewal; nil if none is scheduled
	resyncing bool
	retired   bool // whether Retain dropped the token key, so that the token is not renewed
	// The list `rejected` contains versions of tokens that were replaced after a report. The list
	// `pending` contains reported versions that were not those of the current token: a token with
	// such a version may still arrive from a replica that cannot reach the Store. If neither
	// `rejected` nor `pending` contains the version of a reported token any more, the token is
	// replaced only when it is reported again.
	rejected, pending []string
	// forced contains the times of the last forced renewals that were made without the Store.
	forced []time.Time
}

// A snapshot is the immutable state of an entry at one moment.
type snapshot struct {
	token      *token.Token // the current token; nil if there is none
	expireTime time.Time    // when token expires
	// failure is the failure of the last token request, or nil if that request brought a token or
	// none was made.
	failure *Failure
	// epoch is the value that Cache.epoch had before the token was last compared with the Store.
	// The field `news` counts the changes of the token in the Store.
	epoch, news uint64
	// served reports that a caller received the token. A token that no caller received is not
	// renewed.
	served bool
	// late reports that a call found the token expired.
	late bool
	// since is when token requests last began to succeed, to be refused, or to fail in another way.
	since     time.Time
	renewTime time.Time // when the scheduled renewal begins; zero if none is scheduled
}

// A stamp is the state of an entry before the Store is read. After the read, a comparison with the
// stamp detects changes that were made during the read.
type stamp struct {
	*snapshot
	cacheEpoch uint64
}

func (e *entry) stamp() stamp { return stamp{e.snapshot.Load(), e.cache.epoch.Load()} }

// isKnown reports whether the entry has something that a change in the Store may replace: a token
// or a failure.
func (s *snapshot) isKnown() bool { return s.token != nil || s.failure != nil }

func (s *snapshot) isFresh(now time.Time) bool { return s.token != nil && now.Before(s.expireTime) }

// isValid reports whether the provider may still accept the token, even in its safety margin.
func (s *snapshot) isValid(now time.Time) bool {
	return s.token != nil && now.Before(s.token.LastEnd())
}

// update replaces the snapshot by a changed copy. The caller must hold e.mu.
func (e *entry) update(change func(*snapshot)) {
	previous := e.snapshot.Load()
	next := *previous
	change(&next)
	another := next.result() != previous.result()
	if another {
		next.since = e.cache.options.Clock.Now()
	}
	e.snapshot.Store(&next)
	if another {
		e.cache.options.ResultChanged(e.key)
	}
}

// choose makes t the current token, unless the current token is newer, or has the same value and
// lives as long. The stamp `seen` must be from before t was requested, or read from the Store. If
// another token has become current since then, t must certainly be newer. The caller must hold
// e.mu.
func (e *entry) choose(t *token.Token, seen stamp) {
	current := e.snapshot.Load().token
	switch {
	case current == nil:
	case current.Value.Equal(t.Value):
		if !newer(t, current) {
			return
		}
	case current != seen.token:
		if !newer(t, current) {
			e.resync() // a comparison with the Store decides between the tokens
			return
		}
	case newer(current, t):
		return
	}
	e.setToken(t, seen)
	if s := e.snapshot.Load(); s.news != seen.news || s.epoch != e.cache.epoch.Load() {
		e.resync() // the Store may have changed after t was read
	}
}

// setToken makes t the current token. The stamp `seen` must be from before t was requested, or read
// from the Store. The caller must hold e.mu.
func (e *entry) setToken(t *token.Token, seen stamp) {
	e.stopTimer()
	e.update(func(s *snapshot) {
		s.token, s.expireTime, s.epoch, s.served, s.late = t, t.ExpireTime(), seen.cacheEpoch, false, false
		s.renewTime = time.Time{}
		if s.isFresh(e.cache.options.Clock.Now()) {
			s.failure = nil // a token in its safety margin does not end the back-off
		}
	})
	e.cache.options.Changed(e.key)
}

// hasVersion reports whether callers may have received t under the given version.
func (e *entry) hasVersion(t *token.Token, version string) bool {
	return slices.Contains(e.cache.options.Versions(e.key, t), version)
}

// isRejected reports whether t was reported as rejected. The caller must hold e.mu.
func (e *entry) isRejected(t *token.Token) bool {
	if len(e.rejected)+len(e.pending) == 0 {
		return false
	}
	return slices.ContainsFunc(e.cache.options.Versions(e.key, t), func(version string) bool {
		return slices.Contains(e.rejected, version) || slices.Contains(e.pending, version)
	})
}

// reject remembers the version of a token that was replaced after a report.
func (e *entry) reject(version string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rejected = appendNew(e.rejected, version, maxRejected)
}

func (e *entry) rejectToken(t *token.Token) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.addRejected(t)
}

// addRejected does the work of rejectToken. The caller must hold e.mu. Any one version of the token
// t is enough to recognise it.
func (e *entry) addRejected(t *token.Token) {
	if versions := e.cache.options.Versions(e.key, t); len(versions) > 0 {
		e.rejected = appendNew(e.rejected, versions[0], maxRejected)
	}
}

// rejectPending remembers a reported version, or returns the current token if it has that version.
func (e *entry) rejectPending(version string) (reported *token.Token) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.snapshot.Load().token; t != nil && e.hasVersion(t, version) {
		return t
	}
	if !slices.Contains(e.rejected, version) {
		e.pending = appendNew(e.pending, version, maxPending)
	}
	return nil
}

// appendNew appends a version to a list unless the list contains it. If the list is then longer
// than the limit, appendNew removes the oldest elements.
func appendNew(list []string, version string, limit int) []string {
	if slices.Contains(list, version) {
		return list
	}
	return lastOf(append(list, version), limit)
}

func lastOf[T any](list []T, limit int) []T { return list[max(0, len(list)-limit):] }

// wait returns a token as soon as there is one. A call for a token waits when there is no current
// token, or when the current token is in its safety margin.
func (e *entry) wait(ctx context.Context) (*token.Token, error) {
	e.noteLate()
	began := e.cache.options.Clock.Now()
	if s := e.snapshot.Load(); s.failure.prevents(began, false) {
		if s.isValid(began) {
			e.observer.Answered(FromMargin)
			return e.serve(s), nil
		}
		e.observer.Answered(FromFailure)
		return nil, s.failure.err(began)
	}
	t, tier, err := e.await(ctx)
	e.observer.Waited(e.cache.options.Clock.Since(began))
	if tier == RefreshFailed && ctx.Err() != nil {
		tier = GaveUp
	}
	e.observer.Answered(tier)
	return t, err
}

// noteLate notifies the Observer that a call found a token expired, once for each token that
// callers received.
func (e *entry) noteLate() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.snapshot.Load(); s.token != nil && s.served && !s.late {
		e.update(func(s *snapshot) { s.late = true })
		e.observer.Renewed(Late)
	}
}

// await waits for the result of a token request. If the current token is in its safety margin,
// await takes at most marginWait.
func (e *entry) await(ctx context.Context) (*token.Token, Tier, error) {
	result := e.refresh(ctx, refresh{})
	brief, cancel := context.WithTimeout(ctx, marginWait)
	defer cancel()
	t, err := e.join(brief, result)
	s := e.snapshot.Load() // a token may have been found in the Store during the wait
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && !s.isValid(e.cache.options.Clock.Now()) {
		t, err = e.join(ctx, result)
		s = e.snapshot.Load()
	}
	switch {
	case err == nil:
		return t, FromRefresh, nil
	case s.isValid(e.cache.options.Clock.Now()):
		return e.serve(s), FromMargin, nil
	default:
		return nil, RefreshFailed, err
	}
}
