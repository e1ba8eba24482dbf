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
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/sony/gobreaker/v2"

	"github.com/authmaterial/broker/internal/fleetkeys"
)

// results is an Observer that keeps the results of operations.
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

// offline returns a Store whose operations are the test's own.
func offline(t *testing.T) (*Store, *results) {
	t.Helper()
	seen := &results{}
	s := New(Options{Server: Server{Addresses: []string{"127.0.0.1:1"}}, Keys: fleetkeys.RandomRing(), Observer: seen})
	t.Cleanup(s.Close)
	return s, seen
}

// hang is an operation without a reply.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// starve is one during which the process gets no CPU time: nothing counts its running time.
func (m *runMeter) starve(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return hang(ctx)
}

// TestSilentRedis has Redis say nothing: that counts against it at once.
func TestSilentRedis(t *testing.T) {
	t.Parallel()
	s, seen := offline(t)
	if err := s.do(t.Context(), "commit", hang); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the operation ends with %v", err)
	}
	if got := seen.take(); !slices.Equal(got, []string{"timeout"}) {
		t.Errorf("its results are %q", got)
	}
	if got := s.breaker.Counts().ConsecutiveFailures; got != 1 {
		t.Errorf("%d failures count, want 1", got)
	}
}

// TestStarvedOperation has the process get no CPU time at first.
func TestStarvedOperation(t *testing.T) {
	t.Parallel()
	s, seen := offline(t)
	tries := 0
	err := s.do(t.Context(), "commit", func(ctx context.Context) error {
		if tries++; tries < 3 {
			return s.meter.starve(ctx)
		}
		return nil
	})
	if got := seen.take(); err != nil || !slices.Equal(got, []string{"starved", "starved", "ok"}) {
		t.Errorf("the operation ends with %v, after %q", err, got)
	}
}

// TestStarvedFlight has it get none for so long that the flight goes on without Redis, while
// that still has the time for it.
func TestStarvedFlight(t *testing.T) {
	t.Parallel()
	s, seen := offline(t)
	flight := &timeBudget{limit: refreshTimeout}
	for range 3 {
		if err := s.do(flight.of(t.Context()), "look", s.meter.starve); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an operation ends with %v", err)
		}
	}
	if got := flight.timeout(); got != minTimeout {
		t.Errorf("the next operation has %v, want %v", got, minTimeout)
	}
	if got := seen.take(); !slices.Equal(got, []string{"starved", "starved", "timeout", "timeout", "timeout"}) {
		t.Errorf("the results are %q", got)
	}
	if got := s.breaker.Counts().ConsecutiveFailures; got != 3 {
		t.Errorf("%d failures count, want 3", got)
	}
}

// TestTimeoutsAtOnce has the system report a timeout before any time has passed.
func TestTimeoutsAtOnce(t *testing.T) {
	t.Parallel()
	s, seen := offline(t)
	for range maxFailures {
		err := s.do(t.Context(), "commit", func(context.Context) error {
			return &net.OpError{Op: "read", Err: syscall.ETIMEDOUT}
		})
		if !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("an operation ends with %v", err)
		}
	}
	if got := seen.take(); len(got) != maxFailures || slices.Contains(got, "starved") {
		t.Errorf("the results are %q, want %d timeouts", got, maxFailures)
	}
	if s.breaker.State() != gobreaker.StateOpen {
		t.Error("Redis is not out of reach")
	}
}

// TestPatienceIsTheFlights has the operations of one flight wait for a silent Redis.
func TestPatienceIsTheFlights(t *testing.T) {
	t.Parallel()
	s, _ := offline(t)
	flight := &timeBudget{limit: refreshTimeout}
	if got := flight.timeout(); got != refreshTimeout {
		t.Errorf("the first one has %v, want %v", got, refreshTimeout)
	}
	for range 2 {
		_ = s.do(flight.of(t.Context()), "look", hang)
		if got := flight.timeout(); got != minTimeout {
			t.Errorf("the next one has %v, want %v", got, minTimeout)
		}
	}
}

// TestScheduleCountsWhatRan measures a time of which half is without CPU time.
func TestScheduleCountsWhatRan(t *testing.T) {
	t.Parallel()
	var s runMeter
	outer := s.watch()
	inner := s.watch()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_ = hang(ctx)
	if ran, took := inner.stop(); ran < took/2 || took < 300*time.Millisecond {
		t.Errorf("of %v it ran %v", took, ran)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	_ = s.starve(ctx)
	if ran, took := outer.stop(); ran >= took/2 || took < time.Second {
		t.Errorf("of %v it ran %v", took, ran)
	}
	if s.watches != 0 || s.timer.Stop() {
		t.Error("it counts while nobody watches")
	}
}

// TestStarvedQueue has the process get no CPU time while something waits for its turn.
func TestStarvedQueue(t *testing.T) {
	t.Parallel()
	var s runMeter
	clock := clockwork.NewFakeClock()
	q := newQueue(clock, &s, 1)
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
	starved, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	await()
	s.mu.Lock()
	_ = hang(starved)
	clock.Advance(maxQueueWait)
	s.mu.Unlock()
	await()
	leave()
	if err := <-done; err != nil || !turn.Load() {
		t.Errorf("it has no turn: %v", err)
	}
}
