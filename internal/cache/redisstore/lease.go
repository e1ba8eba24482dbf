package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/token"
)

// A lease renews its locks every lockRenewal. When the owner of a lock dies, another replica can
// take the lock after lockLife.
const (
	lockLife    = 3 * time.Second
	lockRenewal = time.Second
)

var (
	errReply  = errors.New("a script's reply has an unknown form")
	errLocked = errors.New("another replica has the lock")
)

// `found` is the state of a token that a replica read from Redis.
type found struct {
	record cache.Record
	sealed string // the encrypted token in the primary key set, even if it cannot be decrypted; empty if there is none
	// redisTime is the time of Redis' clock, in milliseconds, in a reply that the replica received
	// before readAt.
	redisTime int64
	readAt    time.Time
	took      time.Duration // how long reading the token took
}

// look reads all key sets of a token. It returns the newest token, and the failure that forbids
// token requests longest. If an owner is given, it also locks all key sets for this owner, or none:
// it fails with errLocked if another replica has one of the locks. Without an owner, it copies the
// newest token to the primary key set if that one has another token or none.
func (s *Store) look(ctx context.Context, keys *tokenKeys, owner string) (all found, err error) {
	var primary *token.Token
	for i, set := range keys.all {
		there, err := s.lookAt(ctx, set, owner)
		if err != nil {
			s.unlock(keys.all[:i], owner)
			return found{}, err
		}
		if set == keys.primary {
			primary = there.record.Token
			all.sealed, all.redisTime, all.readAt = there.sealed, there.redisTime, there.readAt
		}
		t, failure := there.record.Token, there.record.Failure
		if best := all.record.Token; best == nil || t != nil && t.Newer(best, 0) {
			all.record.Token, all.took = t, there.took
		}
		if best := all.record.Failure; best == nil || failure != nil && failure.Until.After(best.Until) {
			all.record.Failure = failure
		}
	}
	newest := all.record.Token
	if newest == nil {
		return all, nil
	}
	if owner == "" && (primary == nil || !primary.Value.Equal(newest.Value)) {
		here := all
		// commit fails when another replica has the lock, but then that replica stores a token
		// itself.
		_, _ = s.commit(ctx, keys.primary, &here, owner, newest, false)
	}
	newest.RequestedWithin = all.took
	return all, nil
}

// lookAt reads one key set of a token. If an owner is given, lookAt also locks the key set for this
// owner.
func (s *Store) lookAt(ctx context.Context, set keySet, owner string) (found, error) {
	operation := "look"
	if owner != "" {
		operation = "lock"
	}
	began := s.clock.Now() // the time `began` is read before the request is sent, so that the token seems to end too early, not too late
	reply, err := s.run(ctx, operation, lookScript, []string{set.token, set.failure, set.lock},
		maxEntry, owner, lockLife.Milliseconds())
	if err != nil {
		s.unlock([]keySet{set}, owner) // Redis may have granted the lock although the reply was lost
		return found{}, err
	}
	answer, err := reply.Slice()
	if err != nil || len(answer) != 6 {
		return found{}, errReply
	}
	if owner != "" && answer[5] == nil {
		return found{}, errLocked
	}
	var here found
	here.record.Token, here.sealed = s.readToken(set, answer[0], answer[1], began)
	here.record.Failure = s.readFailure(set, answer[2], answer[3], began)
	here.redisTime, _ = answer[4].(int64)
	here.readAt = s.clock.Now()
	here.took = here.readAt.Sub(began)
	return here, nil
}

// unlock releases the locks of the owner in the background.
func (s *Store) unlock(sets []keySet, owner string) {
	if owner == "" {
		return
	}
	for _, set := range sets {
		s.unlocking.Go(func() {
			_, _ = s.run(context.Background(), "unlock", renewScript, []string{set.lock}, owner, 0)
		})
	}
}

// A lease has locked all key sets of a token. It renews the locks until Release is called.
type lease struct {
	store  *Store
	keys   *tokenKeys
	owner  string
	found  found
	budget *timeBudget // the time budget of the refresh
	stop   context.CancelFunc
}

// newLease locks all key sets of a token. It fails with errLocked if another replica has one of the
// locks.
func (s *Store) newLease(ctx context.Context, t *tokenKeys) (*lease, error) {
	owner := rand.Text() // a new owner each time, because an earlier attempt may still be releasing its lock
	here, err := s.look(ctx, t, owner)
	if err != nil {
		return nil, err
	}
	renewing, stop := context.WithCancel(context.Background())
	l := &lease{store: s, keys: t, owner: owner, found: here, budget: budgetOf(ctx), stop: stop}
	go l.renew(renewing)
	return l, nil
}

// renew renews the locks until ctx ends. A lost lock is not reported, because Commit notices it.
func (l *lease) renew(ctx context.Context) {
	ticker := l.store.clock.NewTicker(lockRenewal)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.Chan():
		}
		for _, set := range l.keys.all {
			_, _ = l.store.run(ctx, "renew", renewScript, []string{set.lock}, l.owner, lockLife.Milliseconds())
		}
	}
}

// Fail stores the failure, unless another replica has taken the lock or stored a token.
func (l *lease) Fail(ctx context.Context, failure *cache.Failure) error {
	set := l.keys.primary
	sealed, life := l.store.sealFailure(set, failure, l.store.clock.Now())
	reply, err := l.store.run(l.budget.of(ctx), "fail", failScript, []string{set.failure, set.lock, set.token},
		l.owner, sealed, life.Milliseconds(), l.found.sealed, maxEntry)
	if err != nil {
		return err
	}
	if stored, err := reply.Bool(); err != nil || !stored {
		return errors.Join(err, cache.ErrLeaseLost)
	}
	return nil
}

// ForcedWait implements cache.Lease by Redis' clock. It counts the forced renewals in all key sets
// of the token, because replicas write to different key sets while a fleet key is being replaced.
func (l *lease) ForcedWait(ctx context.Context, limit int, window time.Duration) (time.Duration, error) {
	var ages []int64 // in milliseconds
	for _, set := range l.keys.all {
		reply, err := l.store.run(l.budget.of(ctx), "forced_wait", forcedWaitScript, []string{set.forced}, maxForced)
		if err != nil {
			return 0, err
		}
		some, err := reply.Int64Slice()
		if err != nil {
			return 0, err
		}
		ages = append(ages, some...)
	}
	if len(ages) < limit {
		return 0, nil
	}
	slices.Sort(ages)
	return max(0, window-time.Duration(ages[limit-1])*time.Millisecond), nil
}

// Release ends the lease.
func (l *lease) Release() {
	l.stop()
	l.store.unlock(l.keys.all, l.owner)
}
