package fleettest_test

import "time"

// cost describes the faults of a round. The test computes the allowed number of token requests
// from this description.
type cost struct {
	began       time.Time
	processes   int       // number of running brokers
	redis       bool      // true if Redis failed in this round
	hostile     bool      // true if Redis sent wrong replies, or if another client wrote into Redis
	failing     time.Time // time since which the provider fails; zero: the provider works
	failed      time.Duration
	retryAfter  time.Duration // the longest delay that the provider asked for in a Retry-After header
	losses      int           // number of times that a broker was killed or suspended
	revocations int
	suspensions int
	corrections int            // number of times that a broker's clock was set forward
	reported    map[string]int // number of reports of valid tokens, by credential
	rotated     map[string]int // number of secret rotations, by credential
	finally     []action       // actions to run after all faults have ended
}

func newCost(processes int) *cost {
	return &cost{began: time.Now(), processes: processes, reported: map[string]int{}, rotated: map[string]int{}}
}

// The longest time that a broker waits before the next token request while callers wait, and the
// factor by which jitter lengthens a delay. The factor is a number of quarters.
const (
	longestBackoff = 10 * time.Second
	jitter         = 5 // the factor is five quarters
)

// longestWait returns the longest time that a broker may wait between the last failed token
// request and the next request. The result is the longer of two times, both lengthened by
// jitter. The first time is the sum of all earlier waits and a second, up to a limit. The second
// time is the delay that the provider asked for. A suspension ends a wait early, but the next
// wait is still twice as long.
func (c *cost) longestWait() time.Duration {
	wait := min((c.failed+time.Second)*jitter/4, longestBackoff)
	if c.suspensions > 0 {
		wait = longestBackoff
	}
	return max(wait, c.retryAfter*jitter/4)
}

// recovery returns how long the fleet may take to become healthy after the last fault. Usually
// this limit is shorter than the time until a renewal, because a renewal would hide many faults.
// The limit is higher after a suspension. The limit is also higher if Redis sent wrong replies
// that brokers cannot detect, or if another client wrote into Redis. In both cases only a
// renewal corrects the stored values.
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

// limit returns how many token requests a credential may have caused in a round that ends now.
//
// A broker renews a token after two thirds of the token's lifetime. It also replaces a token
// that was revoked or reported, or that expired during a sleep. While the provider fails, the
// broker waits longer after each token request, but not after a sleep. Normally the whole fleet
// makes only one request for each of these reasons. During a secret rotation, each part of the
// fleet with the same secret makes its own requests. While Redis fails, each process makes its
// own requests. A killed broker may have made one request without using the answer. The same is
// true for a broker whose lock expired during a sleep. After a suspension, the Redis operations
// of a broker time out, and this broker makes one more request. A broker whose clock is set
// forward considers its token expired.
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
