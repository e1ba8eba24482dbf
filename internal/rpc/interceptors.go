package rpc

import (
	"context"
	"strings"

	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/fault"
)

// Unary is the interceptor for the unary methods of the health service.
func (s *Service) Unary(
	ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
) (response any, err error) {
	c := s.begin(ctx, s.otherMethod(info.FullMethod, false))
	defer func() { err = c.end(err, recover()) }()
	c.method.Received.Inc()
	if err := c.enterOther(); err != nil {
		return nil, err
	}
	return handle(ctx, request)
}

// Stream is the interceptor for the streams of the health and reflection services.
func (s *Service) Stream(
	service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler,
) (err error) {
	if isOf(info.FullMethod, authmaterialv1.BrokerService_ServiceDesc) || isOf(info.FullMethod, authmaterialv1.CredentialService_ServiceDesc) ||
		isOf(info.FullMethod, secretv3.SecretDiscoveryService_ServiceDesc) {
		return handle(service, stream) // the watches count and log their calls themselves
	}
	c := s.begin(stream.Context(), s.otherMethod(info.FullMethod, true))
	defer func() { err = c.end(err, recover()) }()
	if err := c.enterOther(); err != nil {
		return err
	}
	return handle(service, countedStream{stream, c.method})
}

func isOf(method string, service grpc.ServiceDesc) bool {
	return strings.HasPrefix(method, "/"+service.ServiceName+"/")
}

func (s *Service) otherMethod(name string, stream bool) *method {
	known, ok := s.others.Load(name)
	if !ok {
		known, _ = s.others.LoadOrStore(name, s.newMethod(name, stream))
	}
	return known.(*method)
}

// enterOther makes a call of a standard gRPC service, such as reflection, count for the limits of
// its caller. Calls of the health service have a limit of their own.
func (c *call) enterOther() error {
	if err := c.checkHeaders(); err != nil {
		return err
	}
	if !isOf(c.method.name, grpc_health_v1.Health_ServiceDesc) {
		_, err := c.identify(1)
		return err
	}
	conn := peerOf(c.ctx).Conn
	if !c.service.options.Admission.BeginHealth(conn) {
		c.excess = true
		return fault.New(fault.RateLimited, "the broker has reached its limit of concurrent health calls: try again")
	}
	c.health = conn
	return nil
}

type countedStream struct {
	grpc.ServerStream
	method *method
}

func (s countedStream) RecvMsg(message any) error {
	err := s.ServerStream.RecvMsg(message)
	if err == nil {
		s.method.Received.Inc()
	}
	return err
}

func (s countedStream) SendMsg(message any) error {
	err := s.ServerStream.SendMsg(message)
	if err == nil {
		s.method.Sent.Inc()
	}
	return err
}
