package rpc

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/fault"
)

// MaxWatchAge is the age at which a watch has ended: it ends between half of this and
// all of it, so that those which began together do not come back together.
const MaxWatchAge = time.Hour

var errTooOld = fault.New(fault.WatchTooOld, "the watch has reached its maximum age: watch again")

var errIdentityExpired = fault.New(fault.CallerUnauthenticated, "the caller's identity has expired: authenticate and watch again")

// watch streams the states of several credentials.
//
// While a reader does not read, SendMsg waits, and the watch sees neither its maximum age nor
// the server's end. To return without it would end nothing: a status waits behind what was
// not read, and a handler cannot reset its stream. Such a watch ends with its connection,
// whose age the server bounds too, and in the last period of a server that stops.
func (s *Service) watch(m *method, stream grpc.ServerStream) (err error) {
	c := s.begin(stream.Context(), m)
	defer func() { err = c.end(err, recover()) }()
	var request authmaterialv1.WatchAuthDecorationsRequest
	who, _, err := c.receive(stream.RecvMsg, &request)
	if err != nil {
		return err
	}
	ids := request.GetCredentialIds()
	if err := checkIDs(ids); err != nil {
		return err
	}
	evidence := EvidenceOf(stream.Context())
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	age := MaxWatchAge/2 + rand.N(MaxWatchAge/2) //nolint:gosec // it spreads load, and guards nothing
	defer s.waiting.AfterFunc(age, func() { end(errTooOld) }).Stop()
	if !who.ExpireTime.IsZero() {
		left := who.ExpireTime.Sub(clock.WallNow(s.waiting))
		defer s.waiting.AfterFunc(left, func() { end(errIdentityExpired) }).Stop()
	}
	watch := s.broker.Watch(who, func(ctx context.Context, by *broker.Generation) (access.Caller, error) {
		return by.Callers.Recheck(ctx, evidence)
	}, ids)
	defer watch.Close()
	for {
		result, err := watch.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return err
		}
		told := s.toState(ctx, result)
		if err := stream.SendMsg(&answer{bytes: told.append(make([]byte, 0, told.size()))}); err != nil {
			return err // the stream has ended: nobody reads another status
		}
		m.metrics.Sent.Inc()
	}
}

// toState encodes what there is for one ID.
func (s *Service) toState(ctx context.Context, result broker.Result) state {
	if result.Err == nil {
		return state{id: Shorten(result.CredentialID), decoration: decorationOf(result.Decoration.Encoded)}
	}
	encoded, err := proto.Marshal(s.toItem(ctx, result.Err))
	if err != nil {
		panic("rpc: an error has text that is not UTF-8") // messages are the broker's own
	}
	return state{id: Shorten(result.CredentialID), err: encoded}
}
