// Package redisstore implements the cache.Store of a fleet. The Store keeps encrypted tokens in
// Redis, and lets only one replica at a time make requests for a token. While Redis cannot be
// reached, the methods of the Store soon return an error, and the Cache works without the Store.
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
	Server Server
	Keys   *fleetkeys.Ring
	// Clock returns the time. Default: the real clock.
	Clock clockwork.Clock
	// Logger logs a line when Redis becomes unreachable, and when it can be reached again. Default:
	// slog.Default.
	Logger *slog.Logger
	// Observer counts the operations on Redis. Default: none.
	Observer Observer
}

// Store keeps tokens in Redis until Close is called.
type Store struct {
	client   redis.UniversalClient
	keys     *fleetkeys.Ring
	clock    clockwork.Clock
	logger   *slog.Logger
	observer Observer
	id       string // ID of this replica in the events that it publishes
	tokens   *tokenIndex

	// The queues limit how many operations run at the same time. An operation waits in a queue
	// before its time limit begins, so the limit does not include the wait for other operations.
	// Operations that read and lock a token wait in the queue `locking`, which has half as many
	// slots as the queue `operations`, so that at least half of the slots remain for leases that
	// already have a lock and will soon release it.
	operations, locking *queue
	breaker             *gobreaker.CircuitBreaker[struct{}]
	lastFailure         atomic.Value // one word that describes the last failure

	// needsResync reports that an operation failed, so that events may have been missed. The flag
	// `overloaded` reports that an operation was not tried, because it waited too long in a queue.
	needsResync, overloaded atomic.Bool
	outbox                  sync.Map // the set of the events that could not be published yet
	unlocking               sync.WaitGroup
}

// New returns a Store without waiting for a connection to Redis.
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

// Close waits until the locks of all released leases are released, and then closes the connections.
// The context of Follow must have ended before Close is called.
func (s *Store) Close() {
	s.unlocking.Wait()
	_ = s.client.Close()
}

// Load returns the record of the given token key.
func (s *Store) Load(ctx context.Context, key string) (cache.Record, error) {
	here, err := s.look(ctx, s.tokens.of(key), "")
	return here.record, err
}

// A Store that waits for a lease reads the token again and again: first after firstPoll, and then
// at growing intervals up to lastPoll. When an event reports a change of the token, the Store reads
// it at once.
const (
	firstPoll = 10 * time.Millisecond
	lastPoll  = 160 * time.Millisecond
)

// Lock waits for the lease of the token key, or until the function `enough` returns true.
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

// tryLock makes one attempt to take the lease, for Lock. If another replica has the lease, tryLock
// fails with errLocked.
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

// ForgetFailures removes the failures of all tokens that callers have requested from this replica,
// and makes the other replicas do the same.
func (s *Store) ForgetFailures(ctx context.Context) error {
	if err := s.removeFailures(ctx); err != nil {
		s.outbox.Store(event{kind: eventForgotten}, nil) // Follow removes the failures when Redis can be reached again
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

// Retain removes from memory what the Store knows about the token keys for which `keep` returns
// false. The entries in Redis stay until they expire.
func (s *Store) Retain(keep func(key string) bool) { s.tokens.retain(keep) }
