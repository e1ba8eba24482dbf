package server

import (
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/authmaterial/broker/internal/config"
)

// maxCallers is how many callers are remembered with the calls that they made. One that is
// forgotten may make a burst of them again.
const maxCallers = 10_000

// callerLimits count what each caller does, by its name.
type callerLimits struct {
	limits config.Limits
	calls  *lru.Cache[string, *rate.Limiter]

	mu      sync.Mutex
	watches map[string]int // at once; none is 0
}

func newCallerLimits(from config.Limits) *callerLimits {
	calls, err := lru.New[string, *rate.Limiter](maxCallers)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &callerLimits{limits: from, calls: calls, watches: map[string]int{}}
}

// spend counts calls at a time. It returns 0, or after what time they would be allowed;
// then they do not count.
func (c *callerLimits) spend(caller string, calls int, now time.Time) time.Duration {
	bucket, ok := c.calls.Get(caller)
	if !ok {
		bucket = rate.NewLimiter(rate.Limit(c.limits.CallsPerSecond), c.limits.CallBurst)
		if other, found, _ := c.calls.PeekOrAdd(caller, bucket); found {
			bucket = other
		}
	}
	if bucket.AllowN(now, calls) {
		return 0
	}
	lacking := float64(calls) - bucket.TokensAt(now)
	return max(time.Millisecond, time.Duration(lacking/float64(c.limits.CallsPerSecond)*float64(time.Second)))
}

// watch says whether a caller may have one more watch, and counts it. Then unwatch has to
// follow.
func (c *callerLimits) watch(caller string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watches[caller] >= c.limits.WatchesPerCaller {
		return false
	}
	c.watches[caller]++
	return true
}

func (c *callerLimits) unwatch(caller string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watches[caller]--; c.watches[caller] == 0 {
		delete(c.watches, caller)
	}
}
