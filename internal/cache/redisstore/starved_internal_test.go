package redisstore

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/sony/gobreaker/v2"

	"github.com/authmaterial/broker/internal/fleetkeys"
)

type results struct {
	unobserved
	mu  sync.Mutex
	all []string
}

func (r *results) Operated(_, result string, _ time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, result)
}

func (r *results) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

// offline runs a test with simulated time and a Store without a server, to which the test passes its
// own operations.
func offline(t *testing.T, test func(t *testing.T, s *Store, seen *results)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen := &results{}
		s := New(Options{Server: Server{Addresses: []string{"127.0.0.1:1"}}, Keys: fleetkeys.RandomRing(), Observer: seen})
		defer s.Close()
		test(t, s, seen)
	})
}

// `hang` is an operation that receives no reply.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// `starve` is an operation during which the process seems to get no CPU time, because the running
// time of the process is not counted.
func starve(ctx context.Context) error {
	b := budgetOf(ctx)
	b.mu.Lock()
	b.timer.Stop()
	b.mu.Unlock()
	return hang(ctx)
}

// A missing reply of Redis counts as a failure at once.
func TestSilentRedis(t *testing.T) {
	offline(t, func(t *testing.T, s *Store, seen *results) {
		if err := s.do(t.Context(), "commit", hang); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the operation returns error %v", err)
		}
		if got := seen.take(); !slices.Equal(got, []string{"timeout"}) {
			t.Errorf("the reported results are %q", got)
		}
		if got := s.breaker.Counts().ConsecutiveFailures; got != 1 {
			t.Errorf("the circuit breaker counted %d failures, want 1", got)
		}
	})
}

// The process gets no CPU time during the first attempts of an operation.
func TestStarvedOperation(t *testing.T) {
	offline(t, func(t *testing.T, s *Store, seen *results) {
		tries := 0
		err := s.do(t.Context(), "commit", func(ctx context.Context) error {
			if tries++; tries < 3 {
				return starve(ctx)
			}
			return nil
		})
		if got := seen.take(); err != nil || !slices.Equal(got, []string{"starved", "starved", "ok"}) {
			t.Errorf("the operation returns error %v, and the reported results are %q", err, got)
		}
	})
}

// The process gets no CPU time for a long time. The refresh must continue without Redis while there
// is still time for its token request.
func TestStarvedRefresh(t *testing.T) {
	offline(t, func(t *testing.T, s *Store, seen *results) {
		flight := &timeBudget{limit: refreshTimeout}
		for range 3 {
			if err := s.do(flight.of(t.Context()), "look", starve); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("an operation returns error %v", err)
			}
		}
		if got := flight.timeout(); got != minTimeout {
			t.Errorf("the timeout of the next operation is %v, want %v", got, minTimeout)
		}
		if got := seen.take(); !slices.Equal(got, []string{"starved", "starved", "timeout", "timeout", "timeout"}) {
			t.Errorf("the reported results are %q", got)
		}
		if got := s.breaker.Counts().ConsecutiveFailures; got != 3 {
			t.Errorf("the circuit breaker counted %d failures, want 3", got)
		}
	})
}

// The system reports a timeout although no time has passed.
func TestTimeoutsAtOnce(t *testing.T) {
	offline(t, func(t *testing.T, s *Store, seen *results) {
		for range maxFailures {
			err := s.do(t.Context(), "commit", func(context.Context) error {
				return &net.OpError{Op: "read", Err: syscall.ETIMEDOUT}
			})
			if !errors.Is(err, syscall.ETIMEDOUT) {
				t.Errorf("an operation returns error %v", err)
			}
		}
		if got := seen.take(); len(got) != maxFailures || slices.Contains(got, "starved") {
			t.Errorf("the reported results are %q, want %d timeouts", got, maxFailures)
		}
		if s.breaker.State() != gobreaker.StateOpen {
			t.Error("Redis is not out of reach")
		}
	})
}

// The operations of one refresh share their time budget while Redis does not reply.
func TestTimeBudgetIsShared(t *testing.T) {
	offline(t, func(t *testing.T, s *Store, _ *results) {
		flight := &timeBudget{limit: refreshTimeout}
		if got := flight.timeout(); got != refreshTimeout {
			t.Errorf("the timeout of the first operation is %v, want %v", got, refreshTimeout)
		}
		for range 2 {
			_ = s.do(flight.of(t.Context()), "look", hang)
			if got := flight.timeout(); got != minTimeout {
				t.Errorf("the timeout of the next operation is %v, want %v", got, minTimeout)
			}
		}
	})
}

// The process gets no CPU time during half of the measured interval.
func TestTimeBudgetCountsWhatRan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b timeBudget
		during := func(limit time.Duration, run func(context.Context) error) func() {
			return func() {
				ctx, cancel := context.WithTimeout(b.of(t.Context()), limit)
				defer cancel()
				_ = run(ctx)
			}
		}
		// The first interval does not end at a beat, because that beat could count for the second one.
		if starved := b.measure(during(310*time.Millisecond, hang)); starved || b.took < 310*time.Millisecond {
			t.Errorf("in an interval of %v, the counted running time is %v", b.took, b.ran)
		}
		if starved := b.measure(during(700*time.Millisecond, starve)); !starved || b.ran >= b.took/2 || b.took < time.Second {
			t.Errorf("in an interval of %v, the counted running time is %v", b.took, b.ran)
		}
	})
}

// The process gets no CPU time while an operation waits in the queue.
func TestStarvedQueue(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClock()
	q := newQueue(clock, 1)
	var waits atomic.Int32
	q.measure = func(run func()) bool {
		run()
		return waits.Add(1) == 1 // the process gets no CPU time during the first wait
	}
	leave, err := q.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var turn atomic.Bool
	done := make(chan error)
	go func() {
		leave, err := q.enter(t.Context())
		if err == nil {
			turn.Store(true)
			leave()
		}
		done <- err
	}()
	await := func() {
		if err := clock.BlockUntilContext(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	await()
	clock.Advance(maxQueueWait)
	await()
	leave()
	if err := <-done; err != nil || !turn.Load() {
		t.Errorf("the operation got no slot in the queue: %v", err)
	}
}
