package fleettest_test

import "time"

// cost is what the faults of a round may cost.
type cost struct {
	began       time.Time
	processes   int       // brokers' processes that ran
	redis       bool      // Redis had a fault
	hostile     bool      // it lied, or somebody else wrote into it
	failing     time.Time // since when the provider failed; zero: it did not
	failed      time.Duration
	retryAfter  time.Duration // that the provider asked for meanwhile
	losses      int           // of brokers: they were killed or stopped
	revocations int
	suspensions int
	corrections int            // of a broker's clock, forward
	reported    map[string]int // tokens that are good, by credential
	rotated     map[string]int // by credential
	finally     []action       // what is done when all faults have ended
}

func newCost(processes int) *cost {
	return &cost{began: time.Now(), processes: processes, reported: map[string]int{}, rotated: map[string]int{}}
}

// How long a broker waits at most before the next token request while callers wait, and by
// how much longer jitter makes what the provider asked for.
const (
	longestBackoff = 10 * time.Second
	jitter         = 5 // a quarter more is five quarters
)

// longestWait is the longest that a broker waits before the next token request after the
// last of those that failed. It is as long as all waits before, a second and the jitter, up
// to a limit; or as long as the provider asked for, and the jitter. A suspension ends a wait
// early, and the next is twice as long all the same.
func (c *cost) longestWait() time.Duration {
	wait := min((c.failed+time.Second)*jitter/4, longestBackoff)
	if c.suspensions > 0 {
		wait = longestBackoff
	}
	return max(wait, c.retryAfter*jitter/4)
}

// recovery is how long it may take until all is well after the last fault. It is less than
// a token waits for its renewal, which would make up for a lot; but after a suspension, and
// where a renewal is what makes up for a lie of Redis that nobody can detect, and replaces
// the entries that somebody else wrote.
func (c *cost) recovery() time.Duration {
	limit := 4 * time.Second
	if c.suspensions > 0 {
		limit = 10 * time.Second
	}
	if c.hostile {
		limit += soakLife
	}
	if !c.failing.IsZero() {
		limit += c.longestWait()
	}
	return limit
}

// limit is how many token requests a credential may have cost in a round that ends now.
//
// A broker renews a token that it has when two thirds of its life are over, and replaces one
// that was revoked or reported, or expired while the machine slept; while the provider fails
// it waits for longer after each request, and no longer after it slept. That is the fleet as
// a whole; while a secret is rotated it is the part of the fleet that has the same secret;
// and while Redis has a fault, each process. A broker that is killed may have made one
// request in vain; so may one that slept, whose lock expired meanwhile. One that was stopped
// finds its Redis operations too late and makes one alone. One whose clock is put forward
// takes its token for expired.
func (c *cost) limit(credential string) int {
	within := time.Since(c.began)
	requests := 1 + int(within/(soakLife*2/3)) + c.revocations + c.suspensions + c.reported[credential]
	if !c.failing.IsZero() {
		requests += mostRequests(time.Since(c.failing)) + c.suspensions
	}
	makers := 1
	if c.redis {
		makers += c.processes
	}
	return requests*makers*(1+c.rotated[credential]) + c.losses + c.suspensions + c.corrections
}
