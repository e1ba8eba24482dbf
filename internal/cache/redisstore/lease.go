package redisstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/bsm/redislock"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/token"
)

// The lock of a lease. A holder that dies is followed by another after its life.
const (
	lockLife    = 3 * time.Second
	lockRenewal = time.Second
)

// What is remembered of a key beside its token.
const (
	maxRejected = 8   // rejected tokens
	maxForced   = 100 // forced renewals
	forcedLife  = time.Hour
)

// lockAll locks the places of a token, in an order that is the same in every replica, or
// none of them. It fails with ErrNotObtained when another has one.
func (s *Store) lockAll(ctx context.Context, places []place, owner string) ([]*redislock.Lock, error) {
	var locks []*redislock.Lock
	for _, at := range inLockOrder(places) {
		lock, err := s.lock(ctx, at, owner)
		if err != nil {
			s.unlock(locks)
			return nil, err
		}
		locks = append(locks, lock)
	}
	return locks, nil
}

// lock tries to lock one place. Each try has an owner of its own: what frees the locks of
// an earlier one may come late.
func (s *Store) lock(ctx context.Context, at place, owner string) (lock *redislock.Lock, err error) {
	err = s.do(ctx, "lock", func(ctx context.Context) (err error) {
		lock, err = s.locker.Obtain(ctx, at.lock, lockLife, &redislock.Options{Token: owner})
		return err
	})
	switch {
	case isWrongType(err):
		return nil, redislock.ErrNotObtained // the next look removes what is there
	case err != nil && !errors.Is(err, redislock.ErrNotObtained):
		s.freeing.Go(func() { s.disown(at, owner) })
	}
	return lock, err
}

// disown ends a lock that the owner may have without knowing it: the answer was lost. It
// takes the lock, unless another has it, for as short as there is.
func (s *Store) disown(at place, owner string) {
	_ = s.do(context.Background(), "unlock", func(ctx context.Context) error {
		_, err := s.locker.Obtain(ctx, at.lock, time.Millisecond, &redislock.Options{Token: owner})
		return err
	})
}

// unlock frees locks, without waiting for it.
func (s *Store) unlock(locks []*redislock.Lock) {
	for _, lock := range locks {
		s.freeing.Go(func() {
			_ = s.do(context.Background(), "unlock", func(ctx context.Context) error {
				if err := lock.Release(ctx); !errors.Is(err, redislock.ErrLockNotHeld) {
					return err
				}
				return nil
			})
		})
	}
}

// lease is the lock of a token's places, which is renewed until Release.
type lease struct {
	store  *Store
	places []place
	locks  []*redislock.Lock
	found  found
	owner  string
	// patience is the flight's.
	patience *patience
	stop     context.CancelFunc
}

func (s *Store) newLease(places []place, locks []*redislock.Lock) *lease {
	ctx, stop := context.WithCancel(context.Background())
	l := &lease{store: s, places: places, locks: locks, owner: locks[0].Token(), stop: stop}
	go l.renew(ctx)
	return l
}

// renew keeps the locks until ctx ends. That one was lost is for Commit to find.
func (l *lease) renew(ctx context.Context) {
	ticker := l.store.clock.NewTicker(lockRenewal)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.Chan():
		}
		for _, lock := range l.locks {
			_ = l.store.do(ctx, "renew", func(ctx context.Context) error { return lock.Refresh(ctx, lockLife, nil) })
		}
	}
}

// Commit stores the token, and tells the fleet.
func (l *lease) Commit(ctx context.Context, fresh *token.Token, rejected bool) (*token.Token, error) {
	refused := ""
	if rejected && l.found.record.Token != nil {
		refused = l.store.keys.Fingerprints(l.found.record.Token.Value.Reveal())[0]
	}
	at := l.places[0]
	return l.store.commit(l.patience.of(ctx), at, commitment{
		owner: l.owner, found: &l.found, fresh: fresh, sealed: l.store.sealToken(at, fresh), refused: refused,
	})
}

// Fail stores the failure, unless another has the lock by now, or has stored a token.
func (l *lease) Fail(ctx context.Context, failure *cache.Failure) error {
	at := l.places[0]
	sealed, life := l.store.sealFailure(at, failure, l.store.clock.Now())
	stored := false
	err := l.store.do(l.patience.of(ctx), "fail", func(ctx context.Context) (err error) {
		stored, err = failScript.Run(ctx, l.store.client, []string{at.failure, at.lock, at.token},
			l.owner, sealed, life.Milliseconds(), l.found.seen, maxEntry).Bool()
		return err
	})
	if err == nil && !stored {
		return cache.ErrLeaseLost
	}
	return err
}

// ForcedWait asks Redis, by its clock, and counts what lies in any of the places: while a
// fleet key is rotated, replicas write to different ones.
func (l *lease) ForcedWait(ctx context.Context, limit int, window time.Duration) (time.Duration, error) {
	var all []int64 // how many milliseconds ago each was
	for _, at := range l.places {
		err := l.store.do(l.patience.of(ctx), "forced_wait", func(ctx context.Context) error {
			ages, err := forcedWaitScript.Run(ctx, l.store.client, []string{at.forced}, maxForced).Int64Slice()
			all = append(all, ages...)
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	if len(all) < limit {
		return 0, nil
	}
	slices.Sort(all)
	return max(0, window-time.Duration(all[limit-1])*time.Millisecond), nil
}

// Release ends the lease.
func (l *lease) Release() {
	l.stop()
	l.store.unlock(l.locks)
}
