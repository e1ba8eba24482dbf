package rpc

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/fault"
)

// MaxWatchAge is the age at which a watch has ended: it ends between half of this and
// all of it, so that those which began together do not come back together.
const MaxWatchAge = time.Hour

var errTooOld = fault.New(fault.WatchTooOld, "the watch has reached its maximum age: watch again")

var errIdentityExpired = fault.New(fault.CallerUnauthenticated, "the caller's identity has expired: authenticate and watch again")

// WatchAuthDecorations streams the states of several credentials.
//
// While a reader does not read, Send waits, and the watch sees neither its maximum age nor
// the server's end. To return without it would end nothing: a status waits behind what was
// not read, and a handler cannot reset its stream. Such a watch ends with its connection,
// whose age the server bounds too, and in the last period of a server that stops.
func (s *Service) WatchAuthDecorations(request *authmaterialv1.WatchAuthDecorationsRequest, stream grpc.ServerStreamingServer[authmaterialv1.WatchAuthDecorationsResponse]) error {
	if err := checkIDs(request.GetCredentialIds()); err != nil {
		return s.toStatus(stream.Context(), err)
	}
	age := MaxWatchAge/2 + rand.N(MaxWatchAge/2) //nolint:gosec // it spreads load, and guards nothing
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	defer s.clock.AfterFunc(age, func() { end(errTooOld) }).Stop()
	caller := CallerOf(ctx)
	if !caller.ExpireTime.IsZero() {
		left := caller.ExpireTime.Sub(clock.WallNow(s.clock))
		defer s.clock.AfterFunc(left, func() { end(errIdentityExpired) }).Stop()
	}
	watch := s.broker.Watch(caller, request.GetCredentialIds())
	defer watch.Close()
	for {
		result, err := watch.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return s.toStatus(ctx, err)
		}
		if err := stream.Send(s.toState(ctx, result)); err != nil {
			return err // the stream has ended: nobody reads another status
		}
	}
}

// toState writes a state for the wire.
func (s *Service) toState(ctx context.Context, result broker.Result) *authmaterialv1.WatchAuthDecorationsResponse {
	response := &authmaterialv1.WatchAuthDecorationsResponse{CredentialId: Shorten(result.CredentialID)}
	if result.Err != nil {
		response.State = &authmaterialv1.WatchAuthDecorationsResponse_Error{Error: s.toItem(ctx, result.Err)}
	} else {
		response.State = &authmaterialv1.WatchAuthDecorationsResponse_AuthDecoration{AuthDecoration: toProto(result.Decoration)}
	}
	return response
}
