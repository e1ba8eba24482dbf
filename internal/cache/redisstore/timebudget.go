package redisstore

import (
	"context"
	"sync"
	"time"
)

// How long operations wait for a reply.
const (
	// refreshTimeout is how long one refresh waits for Redis, all its operations together, before it
	// goes on without.
	refreshTimeout = 2 * time.Second
	// minTimeout is the timeout of an operation after refreshTimeout is used up.
	minTimeout = 100 * time.Millisecond
	// backgroundTimeout is the timeout of an operation outside a refresh, such as releasing a lock.
	backgroundTimeout = 500 * time.Millisecond
	// starvedTimeout is the longest time for them while the process gets no CPU time. The refresh then
	// still has time for its token request.
	starvedTimeout = 5 * time.Second
)

// timeBudget is how long a refresh waits for Redis, all its operations together. It counts only time
// in which the process ran: otherwise it cannot read a reply that has arrived.
type timeBudget struct {
	limit time.Duration

	mu   sync.Mutex
	ran  time.Duration // how long the process ran during the operations
	took time.Duration // how long the operations took
}

type budgetKey struct{}

// of returns a context whose operations share the budget.
func (b *timeBudget) of(ctx context.Context) context.Context {
	return context.WithValue(ctx, budgetKey{}, b)
}

// budgetOf returns the budget of a context's refresh, or that of one operation outside a refresh.
func budgetOf(ctx context.Context) *timeBudget {
	if b, ok := ctx.Value(budgetKey{}).(*timeBudget); ok {
		return b
	}
	return &timeBudget{limit: backgroundTimeout}
}

// timeout returns how long the next operation may take.
func (b *timeBudget) timeout() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(min(b.limit-b.ran, starvedTimeout-b.took), minTimeout)
}

// spend counts an operation. It reports whether a timeout of it does not count against Redis: the
// process did not run for most of the time, and the refresh has time for another attempt.
func (b *timeBudget) spend(ran, took time.Duration) (excused bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ran += ran
	b.took += took
	return ran < took/2 && b.took < starvedTimeout
}
