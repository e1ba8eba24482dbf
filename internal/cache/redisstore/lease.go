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

// The lock of a lease. When its owner dies, another replica gets it after lockLife.
const (
	lockLife    = 3 * time.Second
	lockRenewal = time.Second
)

// Bounds on what Redis keeps of a token beside it.
const (
	maxRejected = 8   // fingerprints of rejected tokens
	maxForced   = 100 // times of forced renewals
	forcedLife  = time.Hour
)

var (
	// errReply is returned when a script's reply has an unknown form.
	errReply = errors.New("a script's reply has an unknown form")
	// errLocked is returned when another replica has the lock.
	errLocked = errors.New("another replica has the lock")
)

// found is what a replica read of a token in Redis.
type found struct {
	record cache.Record
	sealed string // the token's entry in the primary key set, readable or not; empty: none
	// redisTime is Redis' clock in milliseconds. It was read before readAt, by the replica's clock.
	redisTime int64
	readAt    time.Time
	took      time.Duration // how long reading the token took
}

// look reads the key sets of a token, and returns the newest of what they have. With an owner, it
// also locks all of them, or none: then it fails with errLocked. A token that only another fleet key
// leads to is copied to the primary key set.
func (s *Store) look(ctx context.Context, t *tokenKeys, owner string) (all found, err error) {
	var primary *token.Token
	for i, set := range t.all {
		there, err := s.lookAt(ctx, set, owner)
		if err != nil {
			s.unlock(t.all[:i], owner)
			return found{}, err
		}
		if set == t.primary {
			primary = there.record.Token
			all.sealed, all.redisTime, all.readAt = there.sealed, there.redisTime, there.readAt
		}
		if token, now := there.record.Token, all.record.Token; now == nil || token != nil && token.Newer(now, 0) {
			all.record.Token, all.took = token, there.took
		}
		if failure, now := there.record.Failure, all.record.Failure; now == nil || failure != nil && failure.Until.After(now.Until) {
			all.record.Failure = failure
		}
	}
	newest := all.record.Token
	if newest == nil {
		return all, nil
	}
	if owner == "" && (primary == nil || !primary.Value.Equal(newest.Value)) {
		here := all
		_, _ = s.commit(ctx, t.primary, &here, owner, newest, false) // another replica that has the lock stores a token itself
	}
	newest.RequestedWithin = all.took
	return all, nil
}

// lookAt reads one key set, and locks it if there is an owner.
func (s *Store) lookAt(ctx context.Context, set keySet, owner string) (found, error) {
	operation := "look"
	if owner != "" {
		operation = "lock"
	}
	began := s.clock.Now() // before the question: what is left counts from the reply
	reply, err := s.run(ctx, operation, lookScript, []string{set.token, set.failure, set.lock}, maxEntry, owner, lockLife.Milliseconds())
	if err != nil {
		s.unlock([]keySet{set}, owner) // the reply may have been lost
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

// unlock releases the locks that are the owner's, without waiting for that.
func (s *Store) unlock(sets []keySet, owner string) {
	if owner == "" {
		return
	}
	for _, set := range sets {
		s.unlocking.Go(func() { _, _ = s.run(context.Background(), "unlock", renewScript, []string{set.lock}, owner, 0) })
	}
}

// lease is the lock of a token's key sets, which is renewed until Release.
type lease struct {
	store  *Store
	keys   *tokenKeys
	owner  string
	found  found
	budget *timeBudget // the refresh's
	stop   context.CancelFunc
}

// newLease locks a token. It fails with errLocked when another replica has a lock.
func (s *Store) newLease(ctx context.Context, t *tokenKeys) (*lease, error) {
	owner := rand.Text() // another one each time: the unlocking of an earlier attempt may be late
	here, err := s.look(ctx, t, owner)
	if err != nil {
		return nil, err
	}
	renewing, stop := context.WithCancel(context.Background())
	l := &lease{store: s, keys: t, owner: owner, found: here, budget: budgetOf(ctx), stop: stop}
	go l.renew(renewing)
	return l, nil
}

// renew keeps the locks until ctx ends. Commit finds out when one was lost.
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

// Commit stores the token, and publishes the change.
func (l *lease) Commit(ctx context.Context, fresh *token.Token, rejected bool) (*token.Token, error) {
	return l.store.commit(l.budget.of(ctx), l.keys.primary, &l.found, l.owner, fresh, rejected)
}

// commit stores a token if the lock is the owner's or free, and the entry is still the one that was
// found. It returns the token that is then stored, and updates what was found.
func (s *Store) commit(ctx context.Context, set keySet, here *found, owner string, fresh *token.Token, rejected bool) (*token.Token, error) {
	now := s.clock.Now()
	if fresh.LastEnd().Sub(now) < time.Millisecond {
		return fresh, nil // it ended meanwhile, and is not stored
	}
	sealed := string(s.sealToken(set, fresh))
	change := event{kind: eventToken, name: set.name}
	answer, err := s.runCommit(ctx, set, *here, owner, fresh, sealed, rejected)
	if err != nil {
		s.outbox.Store(change, nil) // the token may have been stored
		return nil, err
	}
	before := here.record.Token
	switch answer[0] {
	case "STORED":
		here.sealed = sealed
		_ = s.publish(ctx, change)
		return fresh, nil
	case "LATE":
		return fresh, nil
	case "LOST":
		return nil, cache.ErrLeaseLost
	case "REJECTED", "CHANGED":
	default:
		return nil, errReply
	}
	stored, sealed := s.readToken(set, answer[1], answer[2], now)
	switch {
	case sealed == here.sealed:
		return before, nil // rejected: the entry is still the one that was found
	case answer[0] == "REJECTED":
		return stored, nil
	case stored == nil:
		return nil, cache.ErrLeaseLost
	case stored.Value.Equal(fresh.Value):
		here.sealed = sealed // an earlier attempt stored it, and its reply was lost
		_ = s.publish(ctx, change)
		return fresh, nil
	case before != nil && stored.Value.Equal(before.Value):
		here.sealed = sealed // Redis lost it, and another replica has put it back
		return s.commit(ctx, set, here, owner, fresh, rejected)
	}
	stored.RequestedWithin = s.clock.Since(now)
	return stored, nil
}

// runCommit runs the script that stores a token, which is also there encrypted, and returns its reply.
func (s *Store) runCommit(ctx context.Context, set keySet, here found, owner string, fresh *token.Token, sealed string, rejected bool) ([]any, error) {
	now, former := s.clock.Now(), "" // the fingerprint of the token that was found and rejected
	if rejected && here.record.Token != nil {
		former = s.keys.Fingerprints(here.record.Token.Value.Reveal())[0]
	}
	redisNow := here.redisTime + now.Sub(here.readAt).Milliseconds() // or a little earlier
	arguments := []any{
		owner, here.sealed, sealed, fresh.LastEnd().Sub(now).Milliseconds(), redisNow, former,
		maxRejected, maxForced, token.MaxLifetime.Milliseconds(), forcedLife.Milliseconds(), maxEntry,
	}
	for _, fingerprint := range s.keys.Fingerprints(fresh.Value.Reveal()) {
		arguments = append(arguments, fingerprint)
	}
	reply, err := s.run(ctx, "commit", commitScript, []string{set.token, set.failure, set.lock, set.rejected, set.forced}, arguments...)
	if err != nil {
		return nil, err
	}
	answer, err := reply.Slice()
	if err != nil || len(answer) != 3 {
		return nil, errReply
	}
	return answer, nil
}

// Fail stores the failure, unless another replica has the lock by now, or has stored a token.
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

// ForcedWait counts the renewals by Redis' clock, in all key sets: while a fleet key is replaced,
// replicas write to different ones.
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
