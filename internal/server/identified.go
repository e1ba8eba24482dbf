package server

import (
	"context"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/rpc"
)

// identify is an auth.AuthFunc for unary calls.
func (i *identities) identify(service *rpc.Service) func(context.Context) (context.Context, error) {
	return func(ctx context.Context) (context.Context, error) {
		return i.identifyBy(ctx, i.current.Load(), service)
	}
}

// identifyBy returns the context of a call that is answered from the configuration of these
// authenticators.
func (i *identities) identifyBy(ctx context.Context, by *authenticators, service *rpc.Service) (context.Context, error) {
	caller, err := i.authenticate(ctx, by, evidenceOf(ctx))
	if err != nil {
		return nil, service.Refused(ctx, err)
	}
	noteCaller(ctx, caller.Name)
	return broker.WithView(rpc.WithCaller(ctx, caller), by.served), nil
}

// identified is the service for calls that were identified when they began. A client can
// let time pass before it sends the message: then who calls is found out again if the
// configuration has changed.
type identified struct {
	*rpc.Service
	identities *identities
}

// GetAuthDecoration implements authmaterialv1.BrokerServiceServer.
func (s identified) GetAuthDecoration(ctx context.Context, request *authmaterialv1.GetAuthDecorationRequest) (*authmaterialv1.GetAuthDecorationResponse, error) {
	return current(ctx, s, request, s.Service.GetAuthDecoration)
}

// BatchGetAuthDecorations implements authmaterialv1.BrokerServiceServer.
func (s identified) BatchGetAuthDecorations(ctx context.Context, request *authmaterialv1.BatchGetAuthDecorationsRequest) (*authmaterialv1.BatchGetAuthDecorationsResponse, error) {
	return current(ctx, s, request, s.Service.BatchGetAuthDecorations)
}

// ReportRejection implements authmaterialv1.BrokerServiceServer.
func (s identified) ReportRejection(ctx context.Context, request *authmaterialv1.ReportRejectionRequest) (*authmaterialv1.ReportRejectionResponse, error) {
	return current(ctx, s, request, s.Service.ReportRejection)
}

// current answers a call with the identity that its caller has now.
func current[Request, Response any](ctx context.Context, s identified, request Request, method func(context.Context, Request) (*Response, error)) (*Response, error) {
	if by := s.identities.current.Load(); broker.ViewOf(ctx) != by.served() {
		var err error
		if ctx, err = s.identities.identifyBy(ctx, by, s.Service); err != nil {
			return nil, err
		}
	}
	return method(ctx, request)
}
