package rpc

import (
	"cmp"
	"context"

	"google.golang.org/grpc"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/management"
)

// watchStates answers WatchCredentialStates. The comment in the function `watch` explains what
// happens while the client does not read.
func (s *Service) watchStates(m *method, stream grpc.ServerStream) (err error) {
	c := s.begin(stream.Context(), m)
	defer func() { err = c.end(err, recover()) }()
	var request authmaterialv1.WatchCredentialStatesRequest
	caller, err := c.receive(stream.RecvMsg, &request)
	if err != nil {
		return err
	}
	return s.sendStates(&c, caller, &request, func(message *authmaterialv1.WatchCredentialStatesResponse) error {
		return stream.SendMsg(message)
	})
}

// sendStates sends the states of the credentials that a caller may view, until the context of the call
// ends, or a message cannot be sent.
func (s *Service) sendStates(
	c *call, caller broker.Caller, request *authmaterialv1.WatchCredentialStatesRequest, send func(*authmaterialv1.WatchCredentialStatesResponse) error,
) error {
	ctx, end := s.limitWatch(c.ctx, caller)
	defer end()
	evidence := EvidenceOf(ctx)
	credentials := s.options.Credentials
	watch, err := credentials.management.WatchStates(managementCaller(caller), request.GetFilter(), request.GetCredentialIds(), func(ctx context.Context) (management.Caller, error) {
		by := s.options.Broker.Current()
		again, err := by.Callers.Recheck(ctx, evidence)
		if err == nil && again.Name != caller.Name {
			err = errIdentityChanged
		}
		return management.Caller{Caller: again, Config: by.Config}, err
	})
	if err != nil {
		return err
	}
	defer watch.Close()
	for {
		changes, err := watch.Next(ctx)
		if err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
		message := &authmaterialv1.WatchCredentialStatesResponse{Removed: changes.Removed, Complete: changes.Complete}
		for _, changed := range changes.Changed {
			message.Credentials = append(message.Credentials, credentials.toCredential(changed))
		}
		if err := send(message); err != nil {
			return err // the stream has ended
		}
		c.method.Sent.Inc()
	}
}
