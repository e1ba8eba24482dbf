package redisstore

import (
	"context"
	"sync"
	"time"
)

// These constants limit how long the broker waits for replies of Redis.
const (
	// refreshTimeout is the maximum total time of all Redis operations of one refresh. When
	// refreshTimeout is used up, the refresh continues without Redis.
	refreshTimeout = 2 * time.Second
	// minTimeout is the timeout of an operation after refreshTimeout is used up.
	minTimeout = 100 * time.Millisecond
	// backgroundTimeout is the timeout of an operation outside a refresh, such as releasing a lock.
	backgroundTimeout = 500 * time.Millisecond
	// starvedTimeout is the maximum total time of all Redis operations of one refresh if the
	// process gets no CPU time. When starvedTimeout is used up, the refresh still has time for its
	// token request.
	starvedTimeout = 5 * time.Second
	// beat is the interval at which the running time of the process is measured.
	beat = 20 * time.Millisecond
)

// A timeBudget limits the total time of all Redis operations of one refresh. A timeBudget counts
// only the time in which the process ran, because a process without CPU time cannot read a reply
// that has arrived.
type timeBudget struct {
	limit time.Duration

	mu      sync.Mutex
	ran     time.Duration // how long the process ran during the operations
	took    time.Duration // how long the operations took
	counted time.Time     // time until which `ran` and `took` are counted
	timer   *time.Timer   // timer that calls countBeat; nil unless `measure` is running
}

type budgetKey struct{}

// `of` returns a copy of ctx for operations that share the time budget.
func (b *timeBudget) of(ctx context.Context) context.Context {
	return context.WithValue(ctx, budgetKey{}, b)
}

// budgetOf returns the time budget of a context, or nil if it has none.
func budgetOf(ctx context.Context) *timeBudget {
	b, _ := ctx.Value(budgetKey{}).(*timeBudget)
	return b
}

func (b *timeBudget) timeout() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(min(b.limit-b.ran, starvedTimeout-b.took), minTimeout)
}

// isUsedUp reports whether there is no time left for another attempt to run an operation.
func (b *timeBudget) isUsedUp() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.took >= starvedTimeout
}

// measure calls a function, and adds the duration of the call to the budget. The result `starved`
// reports that the process got no CPU time during most of the call.
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

func (b *timeBudget) countBeat() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		b.count()
		b.timer.Reset(beat)
	}
}

// count adds the time since its last call to the budget. The timer calls count after each beat. If
// more time than one beat has passed, the process got no CPU time in between, so only one beat
// counts as running time. The caller must hold b.mu.
func (b *timeBudget) count() {
	passed := now().Sub(b.counted)
	b.ran += min(passed, beat)
	b.took += passed
	b.counted = b.counted.Add(passed)
}

// now is Go's clock, not the clock of the Store, because tests can stop the clock of the Store.
var now = time.Now //nolint:forbidigo // see above
