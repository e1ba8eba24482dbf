package redisstore

import (
	"context"
	"sync"
	"time"
)

// How long operations wait for a reply.
const (
	// flightTimeout is how long one flight waits for Redis, all its operations together,
	// before it goes on without.
	flightTimeout = 2 * time.Second
	// leastTimeout is what an operation has when the others have used that time up.
	leastTimeout = 100 * time.Millisecond
	// backgroundTimeout is how long an operation waits that no flight waits for.
	backgroundTimeout = 500 * time.Millisecond
)

// patience is how much of its flightTimeout a flight has left.
type patience struct {
	mu   sync.Mutex
	left time.Duration
}

type patienceKey struct{}

func newPatience() *patience { return &patience{left: flightTimeout} }

// of returns a context whose operations share the patience.
func (p *patience) of(ctx context.Context) context.Context {
	return context.WithValue(ctx, patienceKey{}, p)
}

// timeout returns how long the next operation with a context may take.
func timeout(ctx context.Context) time.Duration {
	p, ok := ctx.Value(patienceKey{}).(*patience)
	if !ok {
		return backgroundTimeout
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.left, leastTimeout)
}

// spend counts the time that an operation with a context has taken.
func spend(ctx context.Context, took time.Duration) {
	if p, ok := ctx.Value(patienceKey{}).(*patience); ok {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.left -= took
	}
}
