package fleettest_test

import "time"

// cost describes the faults of a round, from which the test computes the allowed number of token
// requests.
type cost struct {
	began       time.Time
	processes   int       // running brokers
	redis       bool      // Redis failed
	hostile     bool      // Redis sent wrong replies, or another client wrote into Redis
	failing     time.Time // the time since which the provider fails; zero while the provider works
	failed      time.Duration
	retryAfter  time.Duration // longest delay in the provider's Retry-After headers
	losses      int           // how often a broker was killed or suspended
	revocations int
	suspensions int
	corrections int            // how often a broker's clock was set forward
	reported    map[string]int // reports of valid tokens, by credential
	rotated     map[string]int // secret rotations, by credential
	finally     []action       // actions to take after all faults have ended
}

func newCost(processes int) *cost {
	return &cost{began: time.Now(), processes: processes, reported: map[string]int{}, rotated: map[string]int{}}
}

// While callers wait, a broker waits at most longestBackoff before its next token request. A random
// part of up to a quarter is added to each wait.
const (
	longestBackoff = 10 * time.Second
	jitter         = 5 // the longest result, in quarters of the wait
)

// longestWait returns the longest time that a broker may wait between the last failed token request
// and the next one. Each wait is twice as long as the previous one, so it is about a second longer
// than all previous waits together. The longest wait is longestBackoff, or the delay in the
// provider's Retry-After header if that is longer. If the machine sleeps, a wait may end early, so
// the sum of the previous waits does not limit the next one.
func (c *cost) longestWait() time.Duration {
	wait := min((c.failed+time.Second)*jitter/4, longestBackoff)
	if c.suspensions > 0 {
		wait = longestBackoff
	}
	return max(wait, c.retryAfter*jitter/4)
}

// recovery returns how long the fleet may take to become healthy after the last fault. Usually the
// fleet must recover before the next renewal, because a renewal would hide the effects of many
// faults. The recovery may take longer after a suspension, and also if Redis sent wrong replies
// that brokers cannot detect, or if another client wrote into Redis, because then only a renewal
// corrects the stored values.
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

// `limit` returns how many token requests a credential may have caused in a round that ends now.
//
// A broker renews a token after two thirds of its lifetime, and replaces a token that was revoked
// or reported, or that expired during a sleep. While the provider fails, the broker waits longer
// after each token request. A sleep of the machine ends a wait, and so causes one more request.
// Normally the whole fleet makes only one request for each renewal or replacement. During a secret
// rotation, the brokers with the old secret and those with the new secret each need a token. While
// Redis fails, each broker needs a token of its own. A killed broker, or a broker whose lock
// expired during a sleep, may have made one request without using the answer. After a suspension,
// the Redis operations of a broker time out, and it makes one more request. A broker whose clock is
// set forward considers its token expired.
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
