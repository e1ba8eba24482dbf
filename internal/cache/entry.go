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

// Bounds on the rejections that an entry remembers.
const (
	maxRejected = 8  // versions of tokens that were replaced
	maxPending  = 64 // reported versions of tokens that this replica has not seen
)

// readingError is the least by which the time of a token's request may differ from the time that
// another replica reads in the Store.
const readingError = 250 * time.Millisecond

// newer reports whether t is certainly newer than other. It is the one rule about two tokens
// (docs/adr/0022-newer-token.md).
func newer(t, other *token.Token) bool { return t.Newer(other, readingError) }

// entry is what a Cache knows of one token. A warm call reads its snapshot and takes no lock.
// Callers never wait for the token requests of another entry.
type entry struct {
	cache     *Cache
	key       string
	source    Source
	observer  Observer
	warm      Counter            // of calls that do not wait
	refreshes singleflight.Group // at most one at a time
	shared    singleflight.Group // look-ups and republishing, by name

	// snapshot is never nil. It is replaced while mu is locked.
	snapshot atomic.Pointer[snapshot]

	mu        sync.Mutex      // guards what follows
	timer     clockwork.Timer // of the next renewal; nil: none was scheduled
	resyncing bool
	// rejected are versions of tokens that were replaced after a report. pending are reported
	// versions that were not the current token's: their tokens may still arrive, from a replica
	// that cannot reach the Store. A token whose version was evicted from the lists is replaced when it
	// is reported again.
	rejected, pending []string
	// forced are the times of the last renewals that were forced without the Store.
	forced []time.Time
}

// snapshot is the state of an entry at one moment. It is immutable.
type snapshot struct {
	token      *token.Token // the current one; nil: none
	expireTime time.Time    // of the token
	// failure is that of the last token request; nil: it brought a token, or there was none.
	failure *Failure
	// epoch is the Cache's before the Store was last compared with the token. news counts the
	// changes of the token in the Store.
	epoch, news uint64
	// served reports that a caller got the token. Other tokens are not renewed.
	served bool
	// late reports that a call found the token expired.
	late bool
}

// stamp is the version of an entry before a read of the Store. It detects changes during the read.
type stamp struct {
	*snapshot
	cacheEpoch uint64
}

func (e *entry) stamp() stamp { return stamp{e.snapshot.Load(), e.cache.epoch.Load()} }

// isKnown reports whether there is something that a change in the Store could replace.
func (s *snapshot) isKnown() bool { return s.token != nil || s.failure != nil }

// isFresh reports whether the token has not expired at the time now.
func (s *snapshot) isFresh(now time.Time) bool { return s.token != nil && now.Before(s.expireTime) }

// isValid reports whether the provider may accept the token at the time now, even in its safety
// margin.
func (s *snapshot) isValid(now time.Time) bool {
	return s.token != nil && now.Before(s.token.LastEnd())
}

// update replaces the snapshot by a changed copy. The caller holds e.mu.
func (e *entry) update(change func(*snapshot)) {
	next := *e.snapshot.Load()
	change(&next)
	e.snapshot.Store(&next)
}

// choose makes t the current token, unless the current one stays: because it is newer; because it has the
// same value and lives as long; or because it arrived after the stamp, and t is not certainly newer. The
// caller holds e.mu, and has read t in the Store, or requested it, after the stamp.
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
			e.resync() // the token that is in the Store now decides
			return
		}
	case newer(current, t):
		return
	}
	e.setToken(t, seen)
	if s := e.snapshot.Load(); s.news != seen.news || s.epoch != e.cache.epoch.Load() {
		e.resync() // the Store has changed since the stamp
	}
}

// setToken makes t the current token, as of the stamp. The caller holds e.mu.
func (e *entry) setToken(t *token.Token, seen stamp) {
	e.stopTimer()
	e.update(func(s *snapshot) {
		s.token, s.expireTime, s.epoch, s.served, s.late = t, t.ExpireTime(), seen.cacheEpoch, false, false
		if s.isFresh(e.cache.options.Clock.Now()) {
			s.failure = nil // a token in its margin does not end the back-off
		}
	})
	e.cache.options.Changed(e.key)
}

// hasVersion reports whether callers may have got t under this version.
func (e *entry) hasVersion(t *token.Token, version string) bool {
	return slices.Contains(e.cache.options.Versions(e.key, t), version)
}

// isRejected reports whether t was reported. The caller holds e.mu.
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

// rejectPending remembers a reported version that is not the current token's. It returns the
// current token instead when the version is that token's.
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

// appendNew appends a version that is not in the list, which keeps its last elements, limit at most.
func appendNew(list []string, version string, limit int) []string {
	if slices.Contains(list, version) {
		return list
	}
	return lastOf(append(list, version), limit)
}

// lastOf returns the last elements, limit at most.
func lastOf[T any](list []T, limit int) []T { return list[max(0, len(list)-limit):] }

// wait returns a token when there is one. It is for callers that find none, or one in its safety
// margin.
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

// noteLate tells the observer, once for each token that was served, that a call found it expired.
func (e *entry) noteLate() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.snapshot.Load(); s.token != nil && s.served && !s.late {
		e.update(func(s *snapshot) { s.late = true })
		e.observer.Renewed(Late)
	}
}

// await waits for a token request; while there is a token in its safety margin, not for long.
func (e *entry) await(ctx context.Context) (*token.Token, Tier, error) {
	result := e.refresh(ctx, refresh{})
	brief, cancel := context.WithTimeout(ctx, marginWait)
	defer cancel()
	t, err := e.join(brief, result)
	s := e.snapshot.Load() // its token may have been found in the Store meanwhile
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
