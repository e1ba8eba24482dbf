package admission

import (
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/authmaterial/broker/internal/ratelimit"
)

const (
	// callerPart is the part of all concurrent calls that one caller may have.
	callerPart = 4
	// batchesPerCaller is how many batches a caller may have at once.
	batchesPerCaller = 100
	// maxCallers is how many callers are remembered before those that use nothing are forgotten. A
	// caller that is forgotten may use its whole burst of calls again.
	maxCallers = 10_000
)

// Use is something that a caller has a limited number of at once.
type Use int

// The uses.
const (
	Call Use = iota
	Watch
	batch
	connection
	uses // the number of uses
)

// useLimit is how many of one Use a caller may have at once.
type useLimit struct {
	most int64
	name Limit
}

// Caller counts what one caller uses.
type Caller struct {
	name      string
	admission *Admission
	rate      *rate.Limiter // of its calls; nil: it has no limits of its own
	uses      [uses]atomic.Int64
}

// Caller returns the caller of that name.
func (a *Admission) Caller(name string) *Caller {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.callers[name]
	if c == nil {
		if len(a.callers) >= a.sweepAt {
			a.forgetIdle()
		}
		calls := rate.NewLimiter(rate.Limit(a.limits.CallsPerSecond), a.limits.CallBurst)
		c = &Caller{name: name, admission: a, rate: calls}
		a.callers[name] = c
	}
	return c
}

// Everybody returns a Caller for all callers together, where they are not told apart. Of the
// limits only that of all concurrent calls applies to it.
func (a *Admission) Everybody() *Caller { return &Caller{admission: a} }

// forgetIdle forgets the callers that use nothing. The caller holds mu.
func (a *Admission) forgetIdle() {
	for name, c := range a.callers {
		idle := true
		for use := range c.uses {
			idle = idle && c.uses[use].Load() == 0
		}
		if idle {
			delete(a.callers, name)
		}
	}
	a.sweepAt = max(maxCallers, 2*len(a.callers))
}

// Refusal is the reason why a call is refused.
type Refusal struct {
	Limit Limit
	Wait  time.Duration // until the call is allowed; 0: unknown
}

// Begin begins a call or a watch for that number of credentials at the time now. If it returns
// nil, the call must be ended with End.
func (c *Caller) Begin(use Use, credentials int, now time.Time) *Refusal {
	a := c.admission
	all, own := a.calls.Add(1), c.uses[use].Add(1)
	var refusal *Refusal
	switch {
	case all > int64(a.limits.ConcurrentCalls):
		refusal = &Refusal{Limit: ConcurrentCalls}
	case c.rate == nil:
		return nil
	case own > a.perCaller[use].most:
		refusal = &Refusal{Limit: a.perCaller[use].name}
	default:
		wait := ratelimit.Take(c.rate, credentials, now)
		if wait == 0 {
			return nil
		}
		refusal = &Refusal{Limit: CallsPerSecond, Wait: wait}
	}
	c.End(use)
	a.reached(refusal.Limit, c.name)
	return refusal
}

// End ends a call or a watch.
func (c *Caller) End(use Use) {
	c.uses[use].Add(-1)
	c.admission.calls.Add(-1)
}

// BeginBatch reports whether the caller may have one more batch. If so, EndBatch must be called
// when the answer has been sent.
func (c *Caller) BeginBatch() bool { return c.take(batch) }

// EndBatch ends a batch.
func (c *Caller) EndBatch() { c.uses[batch].Add(-1) }

// take counts one more use, and reports whether the caller may have it.
func (c *Caller) take(use Use) bool {
	limit := c.admission.perCaller[use]
	if c.uses[use].Add(1) <= limit.most || c.rate == nil {
		return true
	}
	c.uses[use].Add(-1)
	c.admission.reached(limit.name, c.name)
	return false
}
