package cache_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/testing/cachetest"
	"github.com/authmaterial/broker/internal/token"
)

// The time limits of a sharedStore are similar to those of a Store on a network.
const (
	operationLimit = 250 * time.Millisecond
	leaseLife      = 3 * time.Second
	leaseRenewal   = time.Second
	pollInterval   = 100 * time.Millisecond
	// findingPlace is how long a replica that is connected again takes to report that it missed
	// changes.
	findingPlace = 100 * time.Millisecond
)

// A sharedStore is the Store of a fleet on a simulated network. Each replica has its own link to
// the Store. Tests cause faults in the Store and in the links.
type sharedStore struct {
	clock clockwork.Clock

	mu    sync.Mutex
	cells map[string]*sharedCell
	links []*link
	// newsDelay is how long a change takes to reach the other replicas. If newsLost is set, no
	// change reaches the other replicas.
	newsDelay time.Duration
	newsLost  bool
	commits   []string // the values of the stored tokens, oldest first
}

// sharedCell is what a sharedStore has for one token key.
type sharedCell struct {
	token    *token.Token
	failure  *cache.Failure
	holder   *sharedLease // the lease for the token key; nil if no replica has one
	holds    time.Time    // time at which the lease expires
	rejected []secret.Text
	forced   []time.Time
	changed  chan struct{} // channel that is closed when the cell changes
}

func newSharedStore(clock clockwork.Clock) *sharedStore {
	return &sharedStore{clock: clock, cells: map[string]*sharedCell{}}
}

// cell returns the cell of a token key. If the token or the lease in the cell has ended, cell
// removes it first. The caller must hold s.mu.
func (s *sharedStore) cell(key string) *sharedCell {
	cell := s.cells[key]
	if cell == nil {
		cell = &sharedCell{changed: make(chan struct{})}
		s.cells[key] = cell
	}
	now := s.clock.Now()
	if cell.token != nil && !now.Before(cell.token.LastEnd()) {
		cell.token = nil
	}
	if cell.holder != nil && !now.Before(cell.holds) {
		cell.holder = nil
	}
	return cell
}

func (c *sharedCell) record() cache.Record { return cache.Record{Token: c.token, Failure: c.failure} }

func (c *sharedCell) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *sharedCell) isRejected(value secret.Text) bool {
	return slices.ContainsFunc(c.rejected, value.Equal)
}

func (s *sharedStore) stored(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.cell(key).token; t != nil {
		return t.Value.Reveal()
	}
	return ""
}

func (s *sharedStore) set(change func(*sharedStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// empty restarts the Store without its data. All links are interrupted for a moment.
func (s *sharedStore) empty() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	for _, l := range s.links {
		l.findPlace()
	}
}

// forget removes all data. The caller must hold s.mu.
func (s *sharedStore) forget() { s.cells = map[string]*sharedCell{} }

func (s *sharedStore) endLeases() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cell := range s.cells {
		cell.holder = nil
		cell.wake()
	}
}

// publish reports a change to the other replicas. The caller must hold s.mu.
func (s *sharedStore) publish(from *link, tell func(cache.News)) {
	if s.newsLost {
		return
	}
	for _, l := range s.links {
		if l != from && l.state == connected {
			s.clock.AfterFunc(s.newsDelay, func() { l.tell(tell) })
		}
	}
}

// These are the kinds of requests that a replica sends to the Store.
const (
	tripLook       = "look"
	tripLock       = "lock"
	tripCommit     = "commit"
	tripFail       = "fail"
	tripForcedWait = "forced wait"
	tripForget     = "forget"
)

type linkState int

const (
	connected linkState = iota
	refusing            // requests fail at once
	hanging             // requests fail after 250 ms
	deaf                // requests fail after 250 ms, but the Store executes the requests
)

// A link is one replica's connection to a sharedStore. The link implements the Store interface for
// the replica's Cache.
type link struct {
	store         *sharedStore
	reads, writes atomic.Int64 // number of reads and writes that began
	underWay      atomic.Int64

	// The mutex of the Store guards the following fields.
	state   linkState
	latency time.Duration // the time between a request and its answer
	misread time.Duration // the inaccuracy of a token's RequestedAt
	follow  []*cache.News // the callbacks of the replica's Cache, or of two Caches while the replica restarts
	before  func(trip string)
}

func (s *sharedStore) connect() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &link{store: s}
	s.links = append(s.links, l)
	return l
}

// `become` changes the state of a link. If the replica is connected again, it notices that it may
// have missed changes.
func (l *link) become(state linkState) {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	before := l.state
	l.state = state
	if state == connected && before != connected {
		l.findPlace()
	}
}

func (l *link) set(change func(*link)) {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	change(l)
}

// findPlace reports that changes were missed, but only after the time that a replica needs to
// notice it. The caller must hold the mutex of the Store.
func (l *link) findPlace() {
	l.store.clock.AfterFunc(findingPlace, func() { l.tell(func(news cache.News) { news.Missed() }) })
}

// miss reports to the replica that it may have missed changes, even if the link is not connected.
func (l *link) miss() {
	for _, news := range l.followers() {
		news.Missed()
	}
}

// If the link is connected, tell calls the given function with the callbacks of the replica's
// Cache.
func (l *link) tell(tell func(cache.News)) {
	l.store.mu.Lock()
	state := l.state
	l.store.mu.Unlock()
	if state != connected {
		return
	}
	for _, news := range l.followers() {
		tell(*news)
	}
}

func (l *link) followers() []*cache.News {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	return slices.Clone(l.follow)
}

func (l *link) Follow(ctx context.Context, news cache.News) {
	l.set(func(l *link) { l.follow = append(l.follow, &news) })
	<-ctx.Done()
	l.set(func(l *link) {
		l.follow = slices.DeleteFunc(l.follow, func(other *cache.News) bool { return other == &news })
	})
}

var errUnreachable = errors.New("the shared Store is out of reach")

// `do` sends a request to the Store, which runs the function `work` with its mutex locked.
func (l *link) do(ctx context.Context, trip string, work func()) error {
	s := l.store
	if trip == tripLook {
		l.reads.Add(1)
	} else {
		l.writes.Add(1)
	}
	l.underWay.Add(1)
	defer l.underWay.Add(-1)
	s.mu.Lock()
	before := l.before
	s.mu.Unlock()
	if before != nil {
		before(trip)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.mu.Lock()
	state, answer := l.state, l.latency
	if state == connected || state == deaf {
		work()
	}
	s.mu.Unlock()
	if state == refusing {
		return errUnreachable
	}
	if state != connected {
		answer = operationLimit
	}
	if answer > 0 {
		select {
		case <-s.clock.After(answer):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if state != connected {
		return errUnreachable
	}
	return ctx.Err()
}

func (l *link) Load(ctx context.Context, key string) (record cache.Record, err error) {
	err = l.do(ctx, tripLook, func() {
		record = l.store.cell(key).record()
		if record.Token != nil {
			read := *record.Token
			read.RequestedAt = read.RequestedAt.Add(l.misread)
			record.Token = &read
		}
	})
	if err != nil {
		return cache.Record{}, err
	}
	return record, nil
}

func (l *link) Lock(ctx context.Context, key string, enough func(cache.Record) bool) (cache.Record, cache.Lease, error) {
	for {
		record, err := l.Load(ctx, key)
		if err != nil || enough(record) {
			return record, nil, err
		}
		lease := &sharedLease{link: l, key: key}
		var changed chan struct{}
		if err := l.do(ctx, tripLock, func() { changed = lease.take() }); err != nil {
			return cache.Record{}, nil, err
		}
		if changed == nil {
			return lease.begin(ctx, enough)
		}
		select {
		case <-changed:
		case <-l.store.clock.After(pollInterval):
		case <-ctx.Done():
			return cache.Record{}, nil, ctx.Err()
		}
	}
}

func (l *link) ForgetFailures(ctx context.Context) error {
	return l.do(ctx, tripForget, func() {
		for _, cell := range l.store.cells {
			cell.failure = nil
		}
		l.store.publish(l, func(news cache.News) { news.Forgotten() })
	})
}

func TestSharedStore(t *testing.T) {
	cachetest.TestStore(t, func(*testing.T) cachetest.Harness {
		clock := clockwork.NewFakeClock()
		return cachetest.Harness{Store: newSharedStore(clock).connect(), Clock: clock, Advance: clock.Advance}
	})
}
