package admission

import (
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/authmaterial/broker/internal/ratelimit"
)

const (
	// callerPart is the number by which the limit of concurrent calls is divided: one caller may
	// use a quarter of the limit.
	callerPart = 4
	// batchesPerCaller is the number of batches that a caller may have at once.
	batchesPerCaller = 100
	// largePerCaller is the number of large requests of a caller that the broker receives at once.
	largePerCaller = 4
	// maxCallers is the number of callers at which the broker forgets callers without connections,
	// calls, watches and batches. A forgotten caller may use its whole burst of calls again.
	maxCallers = 10_000
)

// Use is a kind of resource, such as concurrent calls, that is limited for each caller.
type Use int

// These are the kinds of resources that are limited for each caller.
const (
	Call Use = iota
	Watch
	batch
	large
	connection
	uses // the number of kinds of resources
)

type useLimit struct {
	most int64
	name Limit
}

// Caller counts the connections, calls, watches and batches of one caller.
type Caller struct {
	name      string
	admission *Admission
	rate      *rate.Limiter // limits the caller's calls per second; nil if the caller has no limits of its own
	uses      [uses]atomic.Int64
}

// Caller returns the caller with the given name.
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

// Everybody returns a Caller that stands for all callers of a broker that does not authenticate
// callers. Of all limits, only those of concurrent calls and of large requests apply to the Caller
// that Everybody returns.
func (a *Admission) Everybody() *Caller { return &Caller{admission: a} }

// forgetIdle must be called with the lock mu held.
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

// Refusal explains which limit refused a call.
type Refusal struct {
	Limit Limit
	Wait  time.Duration // time until the call would be allowed, or 0 if unknown
}

// Begin counts one call or watch, which requests the given number of credentials. If Begin returns
// nil, the call or watch must be ended with End.
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

// End records that a call or a watch has ended.
func (c *Caller) End(use Use) {
	c.uses[use].Add(-1)
	c.admission.calls.Add(-1)
}

// BeginBatch counts one more batch, and reports whether the caller's limit allows it. If BeginBatch
// returns true, EndBatch must be called when the batch's answer has been sent.
func (c *Caller) BeginBatch() bool { return c.take(batch) }

// EndBatch records that a batch has ended.
func (c *Caller) EndBatch() { c.uses[batch].Add(-1) }

// BeginLarge counts one more request that is larger than `message_bytes`, and reports whether the
// limit allows it. The limit also applies to the Caller that Everybody returns. If BeginLarge
// returns true, EndLarge must be called when the request was received.
func (c *Caller) BeginLarge() bool { return c.take(large) }

// EndLarge records that a large request was received.
func (c *Caller) EndLarge() { c.uses[large].Add(-1) }

// `take` counts one more use of a resource, and reports whether the caller's limit allows it.
func (c *Caller) take(use Use) bool {
	limit := c.admission.perCaller[use]
	if c.uses[use].Add(1) <= limit.most || c.rate == nil && use != large {
		return true
	}
	c.uses[use].Add(-1)
	c.admission.reached(limit.name, c.name)
	return false
}
