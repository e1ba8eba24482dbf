package cache

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/token"
)

// Bounds on what is remembered of one key.
const (
	maxRejected = 8   // rejected tokens
	maxUnseen   = 64  // reports of tokens that are not at hand
	maxForced   = 100 // forced renewals
)

// Memory is a Store for one process.
type Memory struct {
	clock clockwork.Clock

	mu    sync.Mutex
	cells map[string]*memoryCell
}

// memoryCell is what the Memory keeps of one key.
type memoryCell struct {
	lock chan struct{} // holds one element while the cell is leased

	mu       sync.Mutex
	record   Record
	rejected []*token.Token
	forced   []time.Time
}

// NewMemory returns an empty Store.
func NewMemory(clock clockwork.Clock) *Memory {
	return &Memory{clock: clock, cells: map[string]*memoryCell{}}
}

func (m *Memory) cell(key string) *memoryCell {
	m.mu.Lock()
	defer m.mu.Unlock()
	cell := m.cells[key]
	if cell == nil {
		cell = &memoryCell{lock: make(chan struct{}, 1)}
		m.cells[key] = cell
	}
	return cell
}

// Load returns what is known of key. It does not fail.
func (m *Memory) Load(_ context.Context, key string) (Record, error) {
	return m.cell(key).load(m.clock.Now()), nil
}

// Lock waits for the key's turn.
func (m *Memory) Lock(ctx context.Context, key string, enough func(Record) bool) (Record, Lease, error) {
	cell := m.cell(key)
	if record := cell.load(m.clock.Now()); enough(record) {
		return record, nil, nil
	}
	select {
	case cell.lock <- struct{}{}:
	case <-ctx.Done():
		return Record{}, nil, ctx.Err()
	}
	lease := &memoryLease{clock: m.clock, cell: cell, seen: cell.load(m.clock.Now())}
	if enough(lease.seen) {
		lease.Release()
		return lease.seen, nil, nil
	}
	return lease.seen, lease, nil
}

// ForgetFailures removes the failure of every key. It does not fail.
func (m *Memory) ForgetFailures(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, cell := range m.cells {
		cell.update(func(cell *memoryCell) { cell.record.Failure = nil })
	}
	return nil
}

// Len is how many keys there are.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.cells)
}

// Retain drops the keys that keep does not approve of, once their tokens have ended: a
// secret that comes back finds its token again.
func (m *Memory) Retain(keep func(key string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.Now()
	for key, cell := range m.cells {
		if !keep(key) && len(cell.lock) == 0 && cell.load(now).Token == nil {
			delete(m.cells, key)
		}
	}
}

func (c *memoryCell) load(now time.Time) Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.record.Token != nil && !now.Before(c.record.Token.LastEnd()) {
		c.record.Token = nil
	}
	return c.record
}

func (c *memoryCell) update(change func(*memoryCell)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

// memoryLease holds a cell's lock.
type memoryLease struct {
	clock clockwork.Clock
	cell  *memoryCell
	seen  Record // as it was when the lease began
}

func (l *memoryLease) Commit(_ context.Context, fresh *token.Token, rejected bool) (*token.Token, error) {
	seen := l.seen.Token
	standing := fresh
	l.cell.update(func(cell *memoryCell) {
		if rejected && seen != nil {
			if seen.Value.Equal(fresh.Value) {
				standing = seen
				return
			}
			cell.rejected = append(cell.rejected, seen)
			cell.rejected = cell.rejected[max(0, len(cell.rejected)-maxRejected):]
		}
		if slices.ContainsFunc(cell.rejected, func(t *token.Token) bool { return t.Value.Equal(fresh.Value) }) {
			standing = seen
			return
		}
		if rejected && seen != nil {
			cell.forced = append(cell.forced, l.clock.Now())
			cell.forced = cell.forced[max(0, len(cell.forced)-maxForced):]
		}
		cell.record = Record{Token: fresh}
	})
	return standing, nil
}

func (l *memoryLease) Fail(_ context.Context, failure *Failure) error {
	l.cell.update(func(cell *memoryCell) { cell.record.Failure = failure })
	return nil
}

func (l *memoryLease) ForcedWait(_ context.Context, limit int, window time.Duration) (wait time.Duration, err error) {
	now := l.clock.Now()
	l.cell.update(func(cell *memoryCell) {
		if n := len(cell.forced); n >= limit {
			wait = max(0, cell.forced[n-limit].Add(window).Sub(now))
		}
	})
	return wait, nil
}

func (l *memoryLease) Release() { <-l.cell.lock }
