// Package redisstore is the cache.Store of a fleet: tokens are encrypted in Redis, and one replica at a
// time makes token requests for each. While Redis cannot be reached, its methods fail soon, and the
// Cache goes on without it.
package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fleetkeys"
)

// Options configure a Store. Server and Keys are required.
type Options struct {
	// Server is where Redis is.
	Server Server
	// Keys are the fleet's.
	Keys *fleetkeys.Ring
	// Clock is the time. Default: the real one.
	Clock clockwork.Clock
	// Logger gets a line when Redis cannot be reached any more, and when it can be reached again.
	// Default: slog.Default.
	Logger *slog.Logger
	// Observer counts operations. Default: none does.
	Observer Observer
}

// Store keeps tokens in Redis. Close ends it.
type Store struct {
	client   redis.UniversalClient
	keys     *fleetkeys.Ring
	clock    clockwork.Clock
	logger   *slog.Logger
	observer Observer
	id       string // this replica's, in events
	tokens   *tokenIndex

	// operations and locking are queues for Redis, so that time limits measure Redis and not how much
	// there is to do. locking is for looking at a token and locking it. It lets half as many in: the
	// other half at least is for replicas that have a lock and are about to release it.
	operations, locking *queue
	breaker             *gobreaker.CircuitBreaker[struct{}]
	lastFailure         atomic.Value // the word for it

	// needsResync reports that an operation failed, so that events may have been missed; overloaded
	// that one was not tried.
	needsResync, overloaded atomic.Bool
	outbox                  sync.Map // of each event that could not be published
	unlocking               sync.WaitGroup
}

// New returns a Store. It does not wait for Redis.
func New(options Options) *Store {
	if options.Clock == nil {
		options.Clock = clockwork.NewRealClock()
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	if options.Observer == nil {
		options.Observer = unobserved{}
	}
	s := &Store{
		client:   newClient(options.Server),
		keys:     options.Keys,
		clock:    options.Clock,
		logger:   options.Logger,
		observer: options.Observer,
		id:       rand.Text(),
		tokens:   newTokenIndex(options.Keys),
	}
	s.operations, s.locking = newQueue(s.clock, maxOperations()), newQueue(s.clock, maxOperations()/2)
	s.breaker = s.newBreaker()
	return s
}

// Close ends the connections, after the locks of released leases were released. The context of
// Follow must have ended.
func (s *Store) Close() {
	s.unlocking.Wait()
	_ = s.client.Close()
}

// Load returns the record of key.
func (s *Store) Load(ctx context.Context, key string) (cache.Record, error) {
	here, err := s.look(ctx, s.tokens.of(key), "")
	return here.record, err
}

// How often a Store that waits for a lease looks again: soon at first, then less often. With news of
// the token it looks at once.
const (
	firstPoll = 10 * time.Millisecond
	lastPoll  = 160 * time.Millisecond
)

// Lock waits for the lease of key, or until enough returns true.
func (s *Store) Lock(
	ctx context.Context, key string, enough func(cache.Record) bool,
) (cache.Record, cache.Lease, error) {
	t, budget := s.tokens.of(key), &timeBudget{limit: refreshTimeout}
	ctx = budget.of(ctx)
	for poll := firstPoll; ; poll = min(2*poll, lastPoll) {
		news := s.tokens.news(t)
		record, lease, err := s.tryLock(ctx, t, enough)
		if !errors.Is(err, errLocked) {
			return record, lease, err
		}
		select {
		case <-news:
		case <-s.clock.After(poll):
		case <-ctx.Done():
			return cache.Record{}, nil, ctx.Err()
		}
	}
}

// tryLock is Lock without the waiting. It fails with errLocked when another replica has the lease.
func (s *Store) tryLock(
	ctx context.Context, t *tokenKeys, enough func(cache.Record) bool,
) (cache.Record, cache.Lease, error) {
	leave, err := s.enter(ctx, s.locking, "lock")
	if err != nil {
		return cache.Record{}, nil, err
	}
	defer leave()
	here, err := s.look(ctx, t, "")
	if err != nil || enough(here.record) {
		return here.record, nil, err
	}
	l, err := s.newLease(ctx, t)
	if err != nil {
		return cache.Record{}, nil, err
	}
	if enough(l.found.record) {
		l.Release()
		return l.found.record, nil, nil
	}
	return l.found.record, l, nil
}

// ForgetFailures removes the failure of every key that this replica knows, and has the others do the
// same.
func (s *Store) ForgetFailures(ctx context.Context) error {
	if err := s.removeFailures(ctx); err != nil {
		s.outbox.Store(event{kind: eventForgotten}, nil) // Follow removes them when Redis is back
		return err
	}
	return s.publish(ctx, event{kind: eventForgotten})
}

func (s *Store) removeFailures(ctx context.Context) error {
	for some := range slices.Chunk(s.tokens.failures(), batchSize) {
		err := s.do(ctx, "forget", func(ctx context.Context) error {
			_, err := s.client.Pipelined(ctx, func(all redis.Pipeliner) error {
				for _, key := range some {
					all.Del(ctx, key)
				}
				return nil
			})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Retain forgets the keys for which keep returns false. Their entries in Redis expire.
func (s *Store) Retain(keep func(key string) bool) { s.tokens.retain(keep) }
