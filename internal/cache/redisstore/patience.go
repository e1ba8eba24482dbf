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
	// leastTimeout is the timeout of an operation after flightTimeout is used up.
	leastTimeout = 100 * time.Millisecond
	// backgroundTimeout is the timeout of an operation outside a flight, such as freeing a lock.
	backgroundTimeout = 500 * time.Millisecond
	// starvedTimeout is how long that takes at most while the process gets no CPU time. The
	// flight then still has time for its token request.
	starvedTimeout = 5 * time.Second
)

// patience is how long a flight waits for Redis, all its operations together. Only time
// counts in which the process ran: otherwise it cannot read a reply that has arrived.
type patience struct {
	limit time.Duration

	mu   sync.Mutex
	ran  time.Duration // how long the process ran during the operations
	took time.Duration // how long the operations took
}

type patienceKey struct{}

// of returns a context whose operations share the patience.
func (p *patience) of(ctx context.Context) context.Context {
	return context.WithValue(ctx, patienceKey{}, p)
}

// patienceOf returns the patience of a context's flight, or that of one operation outside a
// flight.
func patienceOf(ctx context.Context) *patience {
	if p, ok := ctx.Value(patienceKey{}).(*patience); ok {
		return p
	}
	return &patience{limit: backgroundTimeout}
}

// timeout returns how long the next operation may take.
func (p *patience) timeout() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(min(p.limit-p.ran, starvedTimeout-p.took), leastTimeout)
}

// spend counts an operation. It reports whether a timeout of it does not count against Redis:
// the process did not run for most of the time, and the flight has time for another attempt.
func (p *patience) spend(ran, took time.Duration) (excused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ran += ran
	p.took += took
	return ran < took/2 && p.took < starvedTimeout
}
