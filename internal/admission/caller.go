package admission

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/authmaterial/broker/internal/ratelimit"
)

// The limits of a caller that are not configured.
const (
	// callerPart is the part of all concurrent calls that one caller may have.
	callerPart = 4
	// batchesPerCaller is how many batches a caller has at once. One counts until its answer has
	// been sent.
	batchesPerCaller = 100
)

// maxCallers is how many callers are remembered that do nothing at the moment.
const maxCallers = 10_000

// callers are those that have proved who they are.
type callers struct {
	admission *Admission
	rates     *ratelimit.Limiter[string]
	calls     atomic.Int64 // at once, of all callers

	mu      sync.Mutex
	byName  map[string]*Caller
	sweepAt int // how many there are when those that do nothing are forgotten
}

func newCallers(a *Admission) callers {
	return callers{
		admission: a, byName: map[string]*Caller{}, sweepAt: maxCallers,
		rates: ratelimit.New[string](float64(a.limits.CallsPerSecond), a.limits.CallBurst, maxCallers),
	}
}

// Caller is what one caller uses.
type Caller struct {
	name      string
	admission *Admission
	unlimited bool // it has no limits of its own

	uses                 [Watch + 1]atomic.Int64 // at once
	connections, batches atomic.Int64
}

// Use is what a caller does: it has a number of each at once.
type Use int

// The uses.
const (
	Call Use = iota
	Watch
)

// callerLimit is how many of one use a caller has.
type callerLimit struct {
	most  int
	limit Limit
}

// Caller returns the caller of a name, with what it uses.
func (a *Admission) Caller(name string) *Caller {
	all := &a.callers
	all.mu.Lock()
	defer all.mu.Unlock()
	if found := all.byName[name]; found != nil {
		return found
	}
	if len(all.byName) >= all.sweepAt {
		all.sweep()
	}
	made := &Caller{name: name, admission: a}
	all.byName[name] = made
	return made
}

// Everybody returns what all callers use together where callers are not told apart: it has the
// limit of concurrent calls alone.
func (a *Admission) Everybody() *Caller { return &Caller{admission: a, unlimited: true} }

// sweep forgets the callers that use nothing. The caller holds mu.
func (all *callers) sweep() {
	for name, c := range all.byName {
		if c.connections.Load() == 0 && c.uses[Call].Load() == 0 && c.uses[Watch].Load() == 0 && c.batches.Load() == 0 {
			delete(all.byName, name)
		}
	}
	all.sweepAt = max(maxCallers, 2*len(all.byName))
}

// takeConnection counts a connection if the caller may have it.
func (c *Caller) takeConnection() bool {
	return c.take(&c.connections, c.admission.limits.ConnectionsPerCaller, ConnectionsPerCaller)
}

// take counts one more, up to a limit.
func (c *Caller) take(count *atomic.Int64, limit int, name Limit) bool {
	if count.Add(1) <= int64(limit) || c.unlimited {
		return true
	}
	count.Add(-1)
	c.admission.reached(name, c.name)
	return false
}

// Refusal is why something is refused.
type Refusal struct {
	Limit Limit
	Wait  time.Duration // until it is allowed; 0: nobody knows
}

// Begin begins a call or a watch about so many credentials at the time now. After nil, End has to
// follow.
func (c *Caller) Begin(use Use, credentials int, now time.Time) *Refusal {
	a := c.admission
	var refusal *Refusal
	switch {
	case a.callers.calls.Add(1) > int64(a.limits.ConcurrentCalls):
		a.callers.calls.Add(-1)
		refusal = &Refusal{Limit: ConcurrentCalls}
	case c.unlimited:
		c.uses[use].Add(1)
		return nil
	case c.uses[use].Add(1) > int64(a.perCaller[use].most):
		c.End(use)
		refusal = &Refusal{Limit: a.perCaller[use].limit}
	default:
		wait := a.callers.rates.Take(c.name, credentials, now)
		if wait == 0 {
			return nil
		}
		c.End(use)
		refusal = &Refusal{Limit: CallsPerSecond, Wait: wait}
	}
	a.reached(refusal.Limit, c.name)
	return refusal
}

// End ends a call or a watch.
func (c *Caller) End(use Use) {
	c.uses[use].Add(-1)
	c.admission.callers.calls.Add(-1)
}

// BeginBatch begins a batch. After true, EndBatch has to follow, when the answer has been sent.
func (c *Caller) BeginBatch() bool { return c.take(&c.batches, batchesPerCaller, BatchesPerCaller) }

// EndBatch ends a batch.
func (c *Caller) EndBatch() { c.batches.Add(-1) }
