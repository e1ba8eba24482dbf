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

// New returns a Limiter that allows each key perSecond events in the long run, and up to burst at
// once. It remembers that number of keys. All three must be positive.
func New[K comparable](perSecond float64, burst, keys int) *Limiter[K] {
	buckets, err := simplelru.NewLRU[K, *rate.Limiter](keys, nil)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &Limiter[K]{limit: rate.Limit(perSecond), burst: burst, buckets: buckets}
}

// Take is the function Take for the bucket of a key.
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

// Take takes n events from a bucket at the time now and returns 0. If the bucket does not have
// them, it takes none and returns how long to wait until they are allowed.
func Take(bucket *rate.Limiter, n int, now time.Time) (wait time.Duration) {
	if bucket.AllowN(now, n) {
		return 0
	}
	missing := float64(n) - bucket.TokensAt(now)
	return max(time.Millisecond, time.Duration(missing/float64(bucket.Limit())*float64(time.Second)))
}
