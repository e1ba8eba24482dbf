// Package ratelimit limits how often each of many keys does something.
package ratelimit

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// Limiter has a token bucket for each key. It remembers a bounded number of keys: the one used
// least recently is forgotten, and may have a whole burst again. It is safe for concurrent use.
type Limiter[K comparable] struct {
	limit rate.Limit
	burst int

	mu      sync.Mutex
	buckets *simplelru.LRU[K, *rate.Limiter]
}

// New returns a Limiter that allows each key so many events per second in the long run, and a
// burst after a rest. It remembers so many keys. All three must be positive.
func New[K comparable](perSecond float64, burst, keys int) *Limiter[K] {
	buckets, err := simplelru.NewLRU[K, *rate.Limiter](keys, nil)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &Limiter[K]{limit: rate.Limit(perSecond), burst: burst, buckets: buckets}
}

// Take takes n events of a key at the time now. It returns 0; or, and takes nothing, how long it
// is until they are allowed.
func (l *Limiter[K]) Take(key K, n int, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket, ok := l.buckets.Get(key)
	if !ok {
		bucket = rate.NewLimiter(l.limit, l.burst)
		l.buckets.Add(key, bucket)
	}
	if bucket.AllowN(now, n) {
		return 0
	}
	missing := float64(n) - bucket.TokensAt(now)
	return max(time.Millisecond, time.Duration(missing/float64(l.limit)*float64(time.Second)))
}
