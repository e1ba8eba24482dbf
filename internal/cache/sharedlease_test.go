package cache_test

import (
	"context"
	"time"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

// A sharedLease is a replica's lease for a token key. The lease is renewed while the replica's link
// is connected, and otherwise expires.
type sharedLease struct {
	link *link
	key  string
	seen *token.Token // the token in the Store when the lease began
	stop chan struct{}
}

// cell returns what the Store has for the token key of the lease. The caller must hold the mutex of
// the Store.
func (l *sharedLease) cell() *sharedCell { return l.link.store.cell(l.key) }

// take takes the lease. If another replica has the lease, take returns a channel that is closed
// when the caller should try again. The caller must hold the mutex of the Store.
func (l *sharedLease) take() (changed chan struct{}) {
	cell := l.cell()
	if cell.holder != nil {
		return cell.changed
	}
	cell.holder, cell.holds = l, l.link.store.clock.Now().Add(leaseLife)
	return nil
}

// begin reads the record under the lease, and releases the lease if the function `enough` accepts
// the record.
func (l *sharedLease) begin(ctx context.Context, enough func(cache.Record) bool) (cache.Record, cache.Lease, error) {
	l.stop = make(chan struct{})
	go l.renew()
	record, err := l.link.Load(ctx, l.key)
	if err != nil || enough(record) {
		l.Release()
		return record, nil, err
	}
	l.seen = record.Token
	return record, l, nil
}

func (l *sharedLease) renew() {
	s := l.link.store
	ticker := s.clock.NewTicker(leaseRenewal)
	defer ticker.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-ticker.Chan():
		}
		s.mu.Lock()
		if cell := l.cell(); l.link.state == connected && cell.holder == l {
			cell.holds = s.clock.Now().Add(leaseLife)
		}
		s.mu.Unlock()
	}
}

func (l *sharedLease) Commit(ctx context.Context, fresh *token.Token, rejected bool) (standing *token.Token, err error) {
	var lost error
	if err := l.link.do(ctx, tripCommit, func() { standing, lost = l.commit(fresh, rejected) }); err != nil {
		return nil, err
	}
	return standing, lost
}

// commit does the work of Commit. The caller must hold the mutex of the Store.
func (l *sharedLease) commit(fresh *token.Token, rejected bool) (standing *token.Token, err error) {
	cell := l.cell()
	if rejected && l.seen != nil {
		if l.seen.Value.Equal(fresh.Value) {
			return l.seen, nil
		}
		cell.reject(l.seen.Value)
	}
	switch {
	case cell.token != nil && (l.seen == nil || !cell.token.Value.Equal(l.seen.Value)):
		return cell.token, nil
	case cell.holder != nil && cell.holder != l:
		return nil, cache.ErrLeaseLost
	case cell.isRejected(fresh.Value):
		return l.seen, nil
	}
	if rejected && l.seen != nil {
		cell.forced = append(cell.forced, l.link.store.clock.Now())
	}
	cell.token, cell.failure, l.seen = fresh, nil, fresh
	l.link.store.commits = append(l.link.store.commits, fresh.Value.Reveal())
	cell.wake()
	l.link.store.publish(l.link, func(news cache.News) { news.Changed(l.key) })
	return fresh, nil
}

func (c *sharedCell) reject(value secret.Text) {
	if !c.isRejected(value) {
		c.rejected = append(c.rejected, value)
		c.rejected = c.rejected[max(0, len(c.rejected)-8):]
	}
}

func (l *sharedLease) Fail(ctx context.Context, failure *cache.Failure) error {
	var lost error
	if err := l.link.do(ctx, tripFail, func() { lost = l.fail(failure) }); err != nil {
		return err
	}
	return lost
}

// fail does the work of Fail. The caller must hold the mutex of the Store.
func (l *sharedLease) fail(failure *cache.Failure) error {
	cell := l.cell()
	overtaken := cell.token != nil && (l.seen == nil || !cell.token.Value.Equal(l.seen.Value))
	if overtaken || cell.holder != nil && cell.holder != l {
		return cache.ErrLeaseLost
	}
	cell.failure = failure
	cell.wake()
	return nil
}

func (l *sharedLease) ForcedWait(ctx context.Context, limit int, window time.Duration) (wait time.Duration, err error) {
	err = l.link.do(ctx, tripForcedWait, func() {
		forced := l.cell().forced
		if n := len(forced); n >= limit {
			wait = max(0, forced[n-limit].Add(window).Sub(l.link.store.clock.Now()))
		}
	})
	return wait, err
}

// Release keeps the lease of a disconnected replica until it expires.
func (l *sharedLease) Release() {
	close(l.stop)
	s := l.link.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if cell := l.cell(); cell.holder == l && (l.link.state == connected || l.link.state == deaf) {
		cell.holder = nil
		cell.wake()
	}
}
