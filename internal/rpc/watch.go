package rpc

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/grpc"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/fault"
)

// MaxWatchAge is the maximum age of a watch. Each watch ends at a random time in the second half of
// MaxWatchAge, so that clients do not all reconnect together.
const MaxWatchAge = time.Hour

var (
	errTooOld          = fault.New(fault.WatchTooOld, "the watch has reached its maximum age: watch again")
	errIdentityChanged = fault.New(fault.CallerUnauthenticated,
		"the caller's token or certificate now belongs to another caller: authenticate and watch again")
	errIdentityExpired = fault.New(fault.CallerUnauthenticated,
		"the caller's identity has expired: authenticate and watch again")
)

// watch answers WatchAuthDecorations.
//
// While the client does not read, SendMsg blocks, and the watch notices neither its maximum age
// nor a stop of the server. Returning from the handler would not end the stream: the status would
// wait behind the unread messages, and a handler cannot reset its stream. A watch whose client
// does not read ends with its connection, whose age the server limits too, and at the latest when
// the server stops.
func (s *Service) watch(m *method, stream grpc.ServerStream) (err error) {
	c := s.begin(stream.Context(), m)
	defer func() { err = c.end(err, recover()) }()
	var request authmaterialv1.WatchAuthDecorationsRequest
	caller, err := c.receive(stream.RecvMsg, &request)
	if err != nil {
		return err
	}
	if err := checkIDs(request.GetCredentialIds()); err != nil {
		return err
	}
	ctx, end := s.limitWatch(c.ctx, caller)
	defer end()
	return s.eachState(ctx, caller, request.GetCredentialIds(), func(result broker.Result) error {
		state := s.toItem(ctx, result)
		if err := stream.SendMsg(&answer{bytes: state.append(make([]byte, 0, state.size()))}); err != nil {
			return err // the stream has ended
		}
		m.Sent.Inc()
		return nil
	})
}

// eachState calls a function for the state of each credential and for each later state, until the
// context ends or the function fails.
func (s *Service) eachState(ctx context.Context, caller broker.Caller, ids []string, send func(broker.Result) error) error {
	evidence := EvidenceOf(ctx)
	watch := s.options.Broker.Watch(caller, func(ctx context.Context, by *broker.Generation) (access.Caller, error) {
		return by.Callers.Recheck(ctx, evidence)
	}, ids)
	defer watch.Close()
	for {
		result, err := watch.Next(ctx)
		if err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
		if err := send(result); err != nil {
			return err
		}
	}
}

// limitWatch returns a context that ends when a watch reaches its maximum age, or when the identity
// of its caller expires. The cause of the context's end is a *fault.Error. The function `end` must
// be called after the watch.
func (s *Service) limitWatch(ctx context.Context, caller broker.Caller) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	age := MaxWatchAge/2 + rand.N(MaxWatchAge/2) //nolint:gosec // the random number only spreads load, so it need not be secure
	timers := []clockwork.Timer{s.options.Waiting.AfterFunc(age, func() { cancel(errTooOld) })}
	if !caller.ExpireTime.IsZero() {
		left := caller.ExpireTime.Sub(clock.WallNow(s.options.Waiting))
		timers = append(timers, s.options.Waiting.AfterFunc(left, func() { cancel(errIdentityExpired) }))
	}
	return ctx, func() {
		for _, timer := range timers {
			timer.Stop()
		}
		cancel(nil)
	}
}
