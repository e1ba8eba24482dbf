// Package redisstore is the cache.Store of a fleet: tokens lie in Redis, sealed, and one
// replica at a time makes token requests for each.
//
// It fails when Redis does, soon and without trying again. cache.Fallback is what stands
// in front of it.
package redisstore

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bsm/redislock"
	"github.com/jonboulle/clockwork"
	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fleetkeys"
)

// Options configure a Store. Server and Keys are required.
type Options struct {
	// Server says where Redis is.
	Server Server
	// Keys are the fleet's.
	Keys *fleetkeys.Ring
	// Clock is the time. Default: the real one.
	Clock clockwork.Clock
	// Logger gets a line when Redis gets out of reach, and when it is back. Default:
	// slog.Default.
	Logger *slog.Logger
	// Observer is told what becomes of operations. Default: nobody is.
	Observer Observer
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clockwork.NewRealClock()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	return o
}

// Store keeps tokens in Redis. Close ends it.
type Store struct {
	client   redis.UniversalClient
	locker   *redislock.Client
	keys     *fleetkeys.Ring
	clock    clockwork.Clock
	logger   *slog.Logger
	observer Observer
	schedule schedule
	queues   queues
	breaker  *gobreaker.CircuitBreaker[struct{}]
	troubled atomic.Bool // an operation failed since the stream's place was found
	// lastFailure is the last one's word.
	lastFailure atomic.Value
	places      *places
	waiters     waiters
	untold      events // which could not be published
	id          string // this replica's, in the stream
	// What goes on in the background.
	freeing   sync.WaitGroup
	closing   sync.Mutex
	closed    bool
	following sync.WaitGroup // grows while closing is held and closed is false
}

// New returns a Store. It does not wait for Redis.
func New(options Options) *Store {
	options = options.withDefaults()
	client := newClient(options.Server)
	s := &Store{
		client:   client,
		locker:   redislock.New(client),
		keys:     options.Keys,
		clock:    options.Clock,
		logger:   options.Logger,
		observer: options.Observer,
		places:   newPlaces(options.Keys),
		id:       randomID(),
	}
	s.queues = newQueues(options.Clock, &s.schedule)
	s.breaker = s.newBreaker()
	return s
}

// Close ends the connections, once the leases that were released are free. The context
// of Follow must have ended.
func (s *Store) Close() {
	s.freeing.Wait()
	s.closing.Lock()
	s.closed = true
	s.closing.Unlock()
	_ = s.client.Close()
	s.following.Wait()
}

// beginToFollow counts one that follows, unless the Store is closed.
func (s *Store) beginToFollow() bool {
	s.closing.Lock()
	defer s.closing.Unlock()
	if !s.closed {
		s.following.Add(1)
	}
	return !s.closed
}

// Load returns what is known of key.
func (s *Store) Load(ctx context.Context, key string) (cache.Record, error) {
	found, err := s.look(ctx, s.places.of(key))
	return found.record, err
}

// How often a Store that waits for a lease looks again: soon at first, then less often.
// News of the token has it look at once.
const (
	firstPoll = 10 * time.Millisecond
	lastPoll  = 160 * time.Millisecond
)

// Lock waits for the lease of key, or until enough is known of it.
func (s *Store) Lock(ctx context.Context, key string, enough func(cache.Record) bool) (cache.Record, cache.Lease, error) {
	places, patience := s.places.of(key), &patience{limit: flightTimeout}
	ctx = patience.of(ctx)
	for poll := firstPoll; ; poll = min(2*poll, lastPoll) {
		news := s.waiters.wait(key)
		record, lease, err := s.tryLock(ctx, places, enough)
		if !errors.Is(err, redislock.ErrNotObtained) {
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

// tryLock is Lock where nobody else has the lease. Otherwise it fails with ErrNotObtained.
func (s *Store) tryLock(ctx context.Context, places []place, enough func(cache.Record) bool) (cache.Record, cache.Lease, error) {
	leave, err := s.await(ctx, s.queues.locking, "lock")
	if err != nil {
		return cache.Record{}, nil, err
	}
	defer leave()
	found, err := s.look(ctx, places)
	if err != nil || enough(found.record) {
		return found.record, nil, err
	}
	locks, err := s.lockAll(ctx, places, randomID())
	if err != nil {
		return cache.Record{}, nil, err
	}
	record, lease, err := s.lookAgain(ctx, places, locks, enough)
	if lease == nil {
		return record, nil, err
	}
	lease.patience = patienceOf(ctx)
	return record, lease, err
}

// lookAgain makes locks a lease, unless what was stored meanwhile is enough.
func (s *Store) lookAgain(ctx context.Context, places []place, locks []*redislock.Lock, enough func(cache.Record) bool) (cache.Record, *lease, error) {
	lease := s.newLease(places, locks)
	found, err := s.look(ctx, places)
	if err != nil || enough(found.record) {
		lease.Release()
		return found.record, nil, err
	}
	lease.found = found
	return found.record, lease, nil
}

// ForgetFailures removes the failure of every key that this replica knows, and has the
// others do the same.
func (s *Store) ForgetFailures(ctx context.Context) error {
	if err := s.removeFailures(ctx); err != nil {
		s.untold.add(event{kind: eventForgotten}) // and removes them, when Redis is back
		return err
	}
	return s.publish(ctx, event{kind: eventForgotten})
}

func (s *Store) removeFailures(ctx context.Context) error {
	for some := range slices.Chunk(s.places.all(), batchSize) {
		err := s.do(ctx, "forget", func(ctx context.Context) error {
			_, err := s.client.Pipelined(ctx, func(all redis.Pipeliner) error {
				for _, place := range some {
					all.Del(ctx, place.failure)
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

// Retain forgets which keys were asked for, but those that keep approves of. What lies in
// Redis ends by itself.
func (s *Store) Retain(keep func(key string) bool) {
	s.places.retain(keep)
	s.waiters.wakeAll() // and with that forgets whom nobody waits for
}
