// Package ratelimit limits the rate of events, separately for each of many keys.
package ratelimit

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// Limiter has a token bucket for each key. A Limiter stores a limited number of buckets, and evicts
// the least recently used one. A key whose bucket was evicted may have a full burst again. A
// Limiter is safe for concurrent use.
type Limiter[K comparable] struct {
	limit rate.Limit
	burst int

	mu      sync.Mutex
	buckets *simplelru.LRU[K, *rate.Limiter]
}

// New returns a Limiter. For each key, the Limiter allows `perSecond` events a second on average,
// and `burst` events at once. At most `keys` buckets are stored. All arguments must be positive.
func New[K comparable](perSecond float64, burst, keys int) *Limiter[K] {
	buckets, err := simplelru.NewLRU[K, *rate.Limiter](keys, nil)
	if err != nil {
		panic(err) // the number of keys is not positive
	}
	return &Limiter[K]{limit: rate.Limit(perSecond), burst: burst, buckets: buckets}
}

// Take takes n events from the bucket of the key, as the function Take does.
func (l *Limiter[K]) Take(key K, n int, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket, ok := l.buckets.Get(key)
	if !ok {
		bucket = rate.NewLimiter(l.limit, l.burst)
		l.buckets.Add(key, bucket)
	}
	return Take(bucket, n, now)
}

// Take takes n events from the bucket and returns 0. If fewer than n events are allowed at the time
// `now`, Take takes none, and returns how long to wait until n events are allowed.
func Take(bucket *rate.Limiter, n int, now time.Time) (wait time.Duration) {
	if bucket.AllowN(now, n) {
		return 0
	}
	missing := float64(n) - bucket.TokensAt(now)
	return max(time.Millisecond, time.Duration(missing/float64(bucket.Limit())*float64(time.Second)))
}
