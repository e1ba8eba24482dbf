package redisstore

import (
	"context"
	"sync"
	"time"
)

// Time limits on the wait for replies of Redis.
const (
	// refreshTimeout is how long all Redis operations of one refresh together may take. Then the
	// refresh continues without Redis.
	refreshTimeout = 2 * time.Second
	// minTimeout is the timeout of an operation after refreshTimeout is used up.
	minTimeout = 100 * time.Millisecond
	// backgroundTimeout is the timeout of an operation outside a refresh, such as releasing a lock.
	backgroundTimeout = 500 * time.Millisecond
	// starvedTimeout is how long all Redis operations of one refresh together may take if the
	// process gets no CPU time. The refresh then still has time for its token request.
	starvedTimeout = 5 * time.Second
	// beat is the interval at which the running time of the process is measured.
	beat = 20 * time.Millisecond
)

// timeBudget limits how long all Redis operations of one refresh together may take. A timeBudget
// counts only the time in which the process ran, because a process without CPU time cannot read
// a reply that has arrived.
type timeBudget struct {
	limit time.Duration

	mu      sync.Mutex
	ran     time.Duration // how long the process ran during the operations
	took    time.Duration // how long the operations took
	counted time.Time     // the time up to which ran and took are counted
	timer   *time.Timer   // timer of the next beat; nil: nothing is measured
}

type budgetKey struct{}

// of returns a copy of ctx. Operations with this context share the time budget.
func (b *timeBudget) of(ctx context.Context) context.Context {
	return context.WithValue(ctx, budgetKey{}, b)
}

// budgetOf returns the time budget of a context; nil: the context has none.
func budgetOf(ctx context.Context) *timeBudget {
	b, _ := ctx.Value(budgetKey{}).(*timeBudget)
	return b
}

// timeout returns how long the next operation may take.
func (b *timeBudget) timeout() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(min(b.limit-b.ran, starvedTimeout-b.took), minTimeout)
}

// isUsedUp reports whether no time is left for another attempt of an operation.
func (b *timeBudget) isUsedUp() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.took >= starvedTimeout
}

// measure adds the time that run takes to the budget. measure reports whether the process got no
// CPU time for most of that time.
func (b *timeBudget) measure(run func()) (starved bool) {
	b.mu.Lock()
	ran, took := b.ran, b.took
	b.counted = now()
	b.timer = time.AfterFunc(beat, b.countBeat)
	b.mu.Unlock()
	run()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timer.Stop()
	b.timer = nil
	b.count()
	return b.ran-ran < (b.took-took)/2
}

// countBeat updates the budget at each beat of a measurement.
func (b *timeBudget) countBeat() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		b.count()
		b.timer.Reset(beat)
	}
}

// count adds the time since the last call of count to the budget. At most one beat of that time
// counts as running time of the process, because a late timer means that the process got no CPU
// time. The caller must hold b.mu.
func (b *timeBudget) count() {
	passed := now().Sub(b.counted)
	b.ran += min(passed, beat)
	b.took += passed
	b.counted = b.counted.Add(passed)
}

// now returns the time of Go's clock, not of the Store's clock, because CPU time does not depend
// on the Store's clock.
var now = time.Now //nolint:forbidigo // see above
