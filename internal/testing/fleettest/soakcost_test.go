package fleettest_test

import "time"

// cost is what the faults of a round may cost, in token requests.
type cost struct {
	began       time.Time
	processes   int       // running brokers
	redis       bool      // Redis failed
	hostile     bool      // Redis sent wrong replies, or another client wrote into it
	failing     time.Time // since when the provider failed; zero: it did not
	failed      time.Duration
	retryAfter  time.Duration // the provider's longest Retry-After
	losses      int           // times that a broker was killed or suspended
	revocations int
	suspensions int
	corrections int            // of a broker's clock, forward
	reported    map[string]int // reports of valid tokens, by credential
	rotated     map[string]int // secret rotations, by credential
	finally     []action       // actions after all faults have ended
}

func newCost(processes int) *cost {
	return &cost{began: time.Now(), processes: processes, reported: map[string]int{}, rotated: map[string]int{}}
}

// The longest time that a broker waits before the next token request while callers wait, and the
// factor by which jitter lengthens the delay that the provider asked for.
const (
	longestBackoff = 10 * time.Second
	jitter         = 5 // five quarters
)

// longestWait returns the longest time that a broker waits after the last failed token request
// before the next one: the sum of all earlier waits, a second and the jitter, up to a limit; or
// the delay that the provider asked for, with jitter. A suspension ends a wait early, but the
// next wait is still twice as long.
func (c *cost) longestWait() time.Duration {
	wait := min((c.failed+time.Second)*jitter/4, longestBackoff)
	if c.suspensions > 0 {
		wait = longestBackoff
	}
	return max(wait, c.retryAfter*jitter/4)
}

// recovery is how long the fleet may take to become healthy after the last fault. It is shorter
// than the time until a renewal, which would hide many faults. It is longer after a suspension,
// and where only a renewal corrects a wrong reply of Redis that nobody can detect, or replaces
// entries that another client wrote.
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

// limit returns the number of token requests that a credential may have cost in a round that
// ends now.
//
// A broker renews a token after two thirds of its lifetime, and replaces one that was revoked or
// reported, or that expired during a sleep. While the provider fails, the broker waits longer
// after each request, but not after a sleep. This is true for the fleet as a whole; during a
// secret rotation for each part of the fleet with the same secret; and while Redis fails for
// each process. A killed broker may have made one request in vain; so may one whose lock expired
// during a sleep. After a suspension, a broker's Redis operations time out, and it makes one
// request alone. A broker whose clock is set forward considers its token expired.
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
