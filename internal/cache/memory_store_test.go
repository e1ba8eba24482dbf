package cache_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/token"
)

// These constants limit what the Store `memory` keeps for one token key, in addition to the token
// and the failure.
const (
	maxRejectedTokens = 8
	maxForced         = 100 // times of forced renewals
)

// memory is a Store in the memory of the test process. Several Caches can share a memory, but are
// not notified of each other's changes.
type memory struct {
	clock clockwork.Clock

	mu    sync.Mutex // mutex that guards the cells, except for their lock channels
	cells map[string]*memoryCell
}

// memoryCell is what a memory has for one token key.
type memoryCell struct {
	lock     chan struct{} // has one element while a lease of the token key exists
	record   cache.Record
	rejected []*token.Token
	forced   []time.Time
}

func newMemory(clock clockwork.Clock) *memory {
	return &memory{clock: clock, cells: map[string]*memoryCell{}}
}

// cell returns the cell of a token key. If the token in the cell has ended, cell removes it first.
// The caller must hold m.mu.
func (m *memory) cell(key string) *memoryCell {
	cell := m.cells[key]
	if cell == nil {
		cell = &memoryCell{lock: make(chan struct{}, 1)}
		m.cells[key] = cell
	}
	if t := cell.record.Token; t != nil && !m.clock.Now().Before(t.LastEnd()) {
		cell.record.Token = nil
	}
	return cell
}

func (m *memory) Load(_ context.Context, key string) (cache.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cell(key).record, nil
}

func (m *memory) Lock(ctx context.Context, key string, enough func(cache.Record) bool) (cache.Record, cache.Lease, error) {
	m.mu.Lock()
	cell := m.cell(key)
	record := cell.record
	m.mu.Unlock()
	if enough(record) {
		return record, nil, nil
	}
	select {
	case cell.lock <- struct{}{}:
	case <-ctx.Done():
		return cache.Record{}, nil, ctx.Err()
	}
	record, _ = m.Load(ctx, key)
	lease := &memoryLease{memory: m, cell: cell, seen: record.Token}
	if enough(record) {
		lease.Release()
		return record, nil, nil
	}
	return record, lease, nil
}

func (m *memory) ForgetFailures(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, cell := range m.cells {
		cell.record.Failure = nil
	}
	return nil
}

type memoryLease struct {
	memory *memory
	cell   *memoryCell
	seen   *token.Token // the token when the lease began; nil if there was none
}

func (l *memoryLease) Commit(_ context.Context, fresh *token.Token, rejected bool) (*token.Token, error) {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	rejected = rejected && l.seen != nil
	if rejected && l.seen.Value.Equal(fresh.Value) {
		return l.seen, nil
	}
	if rejected {
		l.cell.rejected = lastOf(append(l.cell.rejected, l.seen), maxRejectedTokens)
	}
	if slices.ContainsFunc(l.cell.rejected, func(t *token.Token) bool { return t.Value.Equal(fresh.Value) }) {
		return l.seen, nil
	}
	if rejected {
		l.cell.forced = lastOf(append(l.cell.forced, l.memory.clock.Now()), maxForced)
	}
	l.cell.record = cache.Record{Token: fresh}
	return fresh, nil
}

func lastOf[T any](all []T, limit int) []T { return all[max(0, len(all)-limit):] }

func (l *memoryLease) Fail(_ context.Context, failure *cache.Failure) error {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	l.cell.record.Failure = failure
	return nil
}

func (l *memoryLease) ForcedWait(_ context.Context, limit int, window time.Duration) (wait time.Duration, err error) {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	if n := len(l.cell.forced); n >= limit {
		wait = max(0, l.cell.forced[n-limit].Add(window).Sub(l.memory.clock.Now()))
	}
	return wait, nil
}

func (l *memoryLease) Release() { <-l.cell.lock }
