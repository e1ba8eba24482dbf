package redisstore

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
)

// These constants determine when Redis counts as out of reach, and how often the broker tries
// again.
const (
	maxFailures   = 5           // number of consecutive failures after which Redis counts as out of reach
	probeInterval = time.Second // pause between attempts while Redis is out of reach
)

// Observer counts the operations on Redis. The methods of an Observer must not block.
type Observer interface {
	// Operated is called at the end of an operation. The result is "ok", or one word for what
	// failed.
	Operated(operation, result string, took time.Duration)
	// Unreadable is called for an entry in Redis that could not be read, with one word for the
	// cause.
	Unreadable(cause string)
	// Degraded is called with true when Redis becomes unreachable, and with false when it can be
	// reached again.
	Degraded(is bool)
}

// unobserved is the Observer of a Store for which none is configured.
type unobserved struct{}

func (unobserved) Operated(string, string, time.Duration) {}
func (unobserved) Unreadable(string)                      {}
func (unobserved) Degraded(bool)                          {}

// The circuit breaker does not count operations that end with one of the following errors.
var (
	// errGaveUp is returned when the caller's context ended before the operation.
	errGaveUp = errors.New("the caller gave up")
	// errStarved is returned when the operation timed out while the process got no CPU time.
	errStarved = errors.New("the process got no CPU time")
	// After a failure, the circuit breaker gets errUnproven for each successful operation that
	// would also succeed on a server that accepts no writes. Such a success must not close the
	// circuit breaker. Callers do not get errUnproven.
	errUnproven = errors.New("the success does not prove that Redis can be used")
)

// proofs lists the operations that run scripts that write. The success of a listed operation proves
// that Redis can be used. The success of any other operation proves less: a read-only replica
// answers reads, and a server that is out of memory removes keys.
var proofs = map[string]bool{"lock": true, "commit": true, "fail": true, "probe": true}

func (s *Store) newBreaker() *gobreaker.CircuitBreaker[struct{}] {
	return gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:      probeInterval,
		ReadyToTrip:  func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= maxFailures },
		IsSuccessful: func(err error) bool { return !isFailure(err) },
		IsExcluded: func(err error) bool {
			return errors.Is(err, errGaveUp) || errors.Is(err, errStarved) || errors.Is(err, errUnproven)
		},
		OnStateChange: s.breakerChanged,
	})
}

// breakerChanged logs that Redis became unreachable, or that it can be reached again, and calls
// Degraded.
func (s *Store) breakerChanged(_ string, from, to gobreaker.State) {
	switch {
	case from == gobreaker.StateClosed:
		s.needsResync.Store(true)
		s.observer.Degraded(true)
		s.logger.Warn("Redis is out of reach: each replica obtains tokens for itself", "failure", s.lastFailure.Load())
	case to == gobreaker.StateClosed:
		s.observer.Degraded(false)
		s.logger.Info("Redis is back: the replicas share tokens again")
	}
}

func (s *Store) run(
	ctx context.Context, operation string, script *redis.Script, keys []string, arguments ...any,
) (reply *redis.Cmd, err error) {
	err = s.do(ctx, operation, func(ctx context.Context) error {
		reply = script.Run(ctx, s.client, keys, arguments...)
		return reply.Err()
	})
	return reply, err
}

// do waits in the queue, and then runs an operation within the time budget of ctx. While Redis is
// out of reach, the operation fails at once.
func (s *Store) do(ctx context.Context, operation string, run func(context.Context) error) error {
	leave, err := s.enter(ctx, s.operations, operation)
	if err != nil {
		return err
	}
	defer leave()
	if budgetOf(ctx) == nil {
		ctx = (&timeBudget{limit: backgroundTimeout}).of(ctx)
	}
	return s.doWithin(ctx, operation, run)
}

// enter waits for a slot in a queue, which the caller keeps until it calls the returned function.
func (s *Store) enter(ctx context.Context, q *queue, operation string) (leave func(), err error) {
	began := s.clock.Now()
	leave, err = q.enter(ctx)
	if err == nil {
		return leave, nil
	}
	if errors.Is(err, errOverload) {
		s.overloaded.Store(true)
	}
	return nil, s.finish(ctx, operation, began, err)
}

// doWithin runs an operation without waiting in the queue. The context must have a time budget.
// doWithin repeats an operation that timed out because the process got no CPU time.
func (s *Store) doWithin(ctx context.Context, operation string, run func(context.Context) error) error {
	for {
		if err := s.try(ctx, operation, run); !errors.Is(err, errStarved) {
			return err
		}
	}
}

func (s *Store) try(ctx context.Context, operation string, run func(context.Context) error) error {
	began, budget := s.clock.Now(), budgetOf(ctx)
	var result error // the result of the operation itself
	_, err := s.breaker.Execute(func() (struct{}, error) {
		limited, cancel := context.WithTimeout(ctx, budget.timeout())
		defer cancel()
		starved := budget.measure(func() { result = run(limited) })
		timedOut := describe(result) == "timeout"
		switch {
		case !isFailure(result):
			if !proofs[operation] && s.isInDoubt() {
				return struct{}{}, errUnproven
			}
		case ctx.Err() != nil || timedOut && sameDeadline(ctx, limited):
			return struct{}{}, errGaveUp
		case timedOut && starved && !budget.isUsedUp():
			return struct{}{}, errStarved
		default:
			s.needsResync.Store(true)
			s.lastFailure.Store(describe(result))
		}
		return struct{}{}, result
	})
	if errors.Is(err, errUnproven) {
		err = result
	}
	return s.finish(ctx, operation, began, err)
}

// finish reports the result of an operation to the Observer, and returns the error for the caller.
func (s *Store) finish(ctx context.Context, operation string, began time.Time, err error) error {
	s.observer.Operated(operation, describe(err), s.clock.Since(began))
	if errors.Is(err, errGaveUp) {
		return cmp.Or(ctx.Err(), context.DeadlineExceeded)
	}
	return err
}

// isInDoubt reports whether the last operation that the circuit breaker counted has failed.
func (s *Store) isInDoubt() bool {
	return s.breaker.State() != gobreaker.StateClosed || s.breaker.Counts().ConsecutiveFailures > 0
}

// sameDeadline reports whether an operation has the same deadline as its caller. With the same
// deadline, a connection may time out a moment before the caller's context ends.
func sameDeadline(ctx, limited context.Context) bool {
	callers, ok := ctx.Deadline()
	deadline, _ := limited.Deadline()
	return ok && deadline.Equal(callers)
}
