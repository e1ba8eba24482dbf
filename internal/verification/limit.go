package verification

import (
	"fmt"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/ratelimit"
)

// Limits of verifications. The limit of a caller restricts callers that try many credential IDs.
const (
	perCredential = 5  // verifications of one credential by one caller in a minute
	perCaller     = 60 // verifications by one caller in a minute
	maxLimits     = 10_000
)

// Limit restricts how often callers verify credentials: 5 times a minute for each credential, and
// 60 times a minute in total. A Limit is safe for concurrent use.
type Limit struct {
	clock       clockwork.Clock
	credentials *ratelimit.Limiter[limitKey]
	callers     *ratelimit.Limiter[string]
}

type limitKey struct{ caller, credentialID string }

// NewLimit returns a Limit. The clock is required.
func NewLimit(clock clockwork.Clock) *Limit {
	const minute = 60 // seconds
	return &Limit{
		clock:       clock,
		credentials: ratelimit.New[limitKey](perCredential/float64(minute), perCredential, maxLimits),
		callers:     ratelimit.New[string](perCaller/float64(minute), perCaller, maxLimits),
	}
}

// Take must be called before each verification. If the caller has made too many, Take returns a
// *fault.Error with the reason RateLimited and the delay until the next verification is allowed.
func (l *Limit) Take(caller, credentialID string) error {
	now := l.clock.Now()
	if wait := l.credentials.Take(limitKey{caller, credentialID}, 1, now); wait > 0 {
		return fault.New(fault.RateLimited,
			fmt.Sprintf("a credential can be verified %d times a minute: try again later", perCredential)).WithRetryDelay(wait)
	}
	if wait := l.callers.Take(caller, 1, now); wait > 0 {
		return fault.New(fault.RateLimited,
			fmt.Sprintf("a caller can verify credentials %d times a minute: try again later", perCaller)).WithRetryDelay(wait)
	}
	return nil
}
