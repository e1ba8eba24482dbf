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
	// beat is the interval at which running time is counted.
	beat = 20 * time.Millisecond
)

// timeBudget is how long a refresh waits for Redis, all its operations together. It counts only time
// in which the process ran: otherwise it cannot read a reply that has arrived.
type timeBudget struct {
	limit time.Duration

	mu      sync.Mutex
	ran     time.Duration // how long the process ran during the operations
	took    time.Duration // how long the operations took
	counted time.Time     // until when that is counted
	timer   *time.Timer   // of the next beat; nil: nothing is measured
}

type budgetKey struct{}

// of returns a context whose operations share the budget.
func (b *timeBudget) of(ctx context.Context) context.Context {
	return context.WithValue(ctx, budgetKey{}, b)
}

// budgetOf returns the budget of a context's refresh; nil: it is not that of a refresh.
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

// isUsedUp reports whether there is no time for another attempt of an operation.
func (b *timeBudget) isUsedUp() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.took >= starvedTimeout
}

// measure counts the time that run takes. It reports whether the process got no CPU time for most of
// that.
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

// countBeat counts the time at each beat of a measurement.
func (b *timeBudget) countBeat() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		b.count()
		b.timer.Reset(beat)
	}
}

// count adds the time since the last count. The process ran for one beat of it at most: while it gets no
// CPU time, the timer is late. The caller holds b.mu.
func (b *timeBudget) count() {
	passed := now().Sub(b.counted)
	b.ran += min(passed, beat)
	b.took += passed
	b.counted = b.counted.Add(passed)
}

// now is the time by Go's clock, whatever the clock of the Store: CPU time does not depend on it.
var now = time.Now //nolint:forbidigo // see above
