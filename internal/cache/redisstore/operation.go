package redisstore

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"
)

// When Redis counts as out of reach.
const (
	maxFailures   = 5           // in a row
	probeInterval = time.Second // how often it is tried again then
)

// Observer is told what becomes of operations, so that they can be counted. Its methods
// must not wait.
type Observer interface {
	// Operated says how an operation ended: "ok", or a word for what went wrong.
	Operated(operation, result string, took time.Duration)
	// Unreadable says that an entry could not be read, and why in a word.
	Unreadable(cause string)
	// Degraded says that Redis is out of reach from now on, or no longer.
	Degraded(is bool)
}

// unobserved is the Observer of a Store that has none.
type unobserved struct{}

func (unobserved) Operated(string, string, time.Duration) {}
func (unobserved) Unreadable(string)                      {}
func (unobserved) Degraded(bool)                          {}

// Results that say nothing about Redis, and do not count for the breaker.
var (
	// errGaveUp says that the caller's context ended first.
	errGaveUp = errors.New("the caller gave up")
	// errStarved says that the operation timed out while the process got no CPU time.
	errStarved = errors.New("the process did not run")
	// errNoProof stands for the success, after a failure, of an operation that succeeds
	// where others do not.
	errNoProof = errors.New("that proves nothing")
)

// inDoubt reports whether the last operation that says something of Redis failed.
func (s *Store) inDoubt() bool {
	return s.breaker.State() != gobreaker.StateClosed || s.breaker.Counts().ConsecutiveFailures > 0
}

// isProof reports whether the success of an operation shows that Redis does its work: it
// runs a script that writes. A server that refuses to write answers reads, and one that
// is out of memory removes.
func isProof(operation string) bool {
	switch operation {
	case "lock", "commit", "fail", "probe":
		return true
	default:
		return false
	}
}

func (s *Store) newBreaker() *gobreaker.CircuitBreaker[struct{}] {
	return gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:      probeInterval,
		ReadyToTrip:  func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= maxFailures },
		IsSuccessful: func(err error) bool { return !isFailure(err) },
		IsExcluded: func(err error) bool {
			return errors.Is(err, errGaveUp) || errors.Is(err, errStarved) || errors.Is(err, errNoProof)
		},
		OnStateChange: s.breakerChanged,
	})
}

// breakerChanged tells of a change that somebody should know of: a probe is none.
func (s *Store) breakerChanged(_ string, from, to gobreaker.State) {
	switch {
	case from == gobreaker.StateClosed:
		s.troubled.Store(true)
		s.observer.Degraded(true)
		s.logger.Warn("Redis is out of reach: each replica obtains tokens for itself", "failure", s.lastFailure.Load())
	case to == gobreaker.StateClosed:
		s.observer.Degraded(false)
		s.logger.Info("Redis is back: the replicas share tokens again")
	}
}

// do runs one operation when it is its turn. From then on the timeout of ctx counts. It fails
// at once while Redis is out of reach. The operation may end with an error that is an answer,
// such as ErrNotObtained.
func (s *Store) do(ctx context.Context, operation string, run func(context.Context) error) error {
	leave, err := s.await(ctx, s.queues.operations, operation)
	if err != nil {
		return err
	}
	defer leave()
	return s.doWithin(ctx, operation, patienceOf(ctx), run)
}

// await waits for a turn of an operation, which leave ends.
func (s *Store) await(ctx context.Context, q *queue, operation string) (leave func(), err error) {
	arrived := s.clock.Now()
	leave, err = q.enter(ctx)
	switch {
	case errors.Is(err, errGaveUp):
		s.observer.Operated(operation, "gave_up", s.clock.Since(arrived))
		return nil, cmp.Or(ctx.Err(), context.DeadlineExceeded)
	case err != nil:
		s.observer.Operated(operation, describe(err), s.clock.Since(arrived))
	}
	return leave, err
}

// doWithin is do without the queue. The operation is tried again when it timed out because the
// process got no CPU time.
func (s *Store) doWithin(ctx context.Context, operation string, p *patience, run func(context.Context) error) error {
	for {
		if err := s.try(ctx, operation, p, run); !errors.Is(err, errStarved) {
			return err
		}
	}
}

// try is one attempt of doWithin.
func (s *Store) try(ctx context.Context, operation string, p *patience, run func(context.Context) error) error {
	began, limit := s.clock.Now(), p.timeout()
	var answer error // the operation's own error
	_, err := s.breaker.Execute(func() (struct{}, error) {
		limited, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		watch := s.schedule.watch()
		answer = run(limited)
		excused := p.spend(watch.stop())
		switch {
		case !isFailure(answer):
			if !isProof(operation) && s.inDoubt() {
				return struct{}{}, errNoProof
			}
		case ctx.Err() != nil || describe(answer) == "timeout" && sameDeadline(ctx, limited):
			return struct{}{}, errGaveUp
		case describe(answer) == "timeout" && excused:
			return struct{}{}, errStarved
		default:
			s.troubled.Store(true)
			s.lastFailure.Store(describe(answer))
		}
		return struct{}{}, answer
	})
	switch {
	case errors.Is(err, errGaveUp):
		s.observer.Operated(operation, "gave_up", s.clock.Since(began))
		return cmp.Or(ctx.Err(), context.DeadlineExceeded)
	case errors.Is(err, errStarved):
		s.observer.Operated(operation, "starved", s.clock.Since(began))
		return err
	case errors.Is(err, errNoProof):
		err = answer
	}
	s.observer.Operated(operation, describe(err), s.clock.Since(began))
	return err
}

// sameDeadline reports whether the operation has no more time than its caller. A connection
// may find that its time is up a moment before the caller's context does.
func sameDeadline(ctx, limited context.Context) bool {
	callers, ok := ctx.Deadline()
	deadline, _ := limited.Deadline()
	return ok && deadline.Equal(callers)
}

// isFailure reports whether err means that Redis does not do its work.
func isFailure(err error) bool {
	return err != nil && !errors.Is(err, redislock.ErrNotObtained) && !isWrongType(err)
}

// isWrongType reports whether a key holds something that the broker did not put there.
func isWrongType(err error) bool { return answerCode(err) == "WRONGTYPE" }

// ofScript is what an error of a script begins with before version 7. That of the command
// in it stands behind.
var ofScript = regexp.MustCompile(`^ERR Error running script .*?(?:@user_script: ?\d+: -?)+`)

// answerCode returns the code of an error that Redis answered, or "".
func answerCode(err error) string {
	var answered redis.Error
	if !errors.As(err, &answered) {
		return ""
	}
	for _, text := range []string{ofScript.ReplaceAllString(answered.Error(), ""), answered.Error()} {
		if word, _, _ := strings.Cut(text, " "); slices.Contains(codes, word) {
			return word
		}
	}
	return ""
}

// codes are what Redis' own errors begin with, as far as they have a word of their own:
// the server does not choose how many words there are.
var codes = []string{
	"ASK", "BUSY", "CLUSTERDOWN", "CROSSSLOT", "ERR", "EXECABORT", "IOERR", "LOADING", "MASTERDOWN", "MISCONF", "MOVED",
	"NOAUTH", "NOPERM", "NOREPLICAS", "NOSCRIPT", "OOM", "READONLY", "TRYAGAIN", "UNKILLABLE", "WRONGPASS", "WRONGTYPE",
}

// describe is an error in a word: texts of errors can quote what was sent.
func describe(err error) string {
	var answered redis.Error
	var network net.Error
	switch {
	case !isFailure(err):
		return "ok"
	case errors.Is(err, gobreaker.ErrOpenState), errors.Is(err, gobreaker.ErrTooManyRequests):
		return "not_tried"
	case errors.Is(err, errOverload):
		return "overload"
	case errors.Is(err, errReplyLimit):
		return "reply"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.As(err, &answered):
		return cmp.Or(strings.ToLower(answerCode(err)), "error")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		return "connection"
	default:
		return "error"
	}
}
