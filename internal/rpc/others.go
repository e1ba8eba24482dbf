package rpc

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/fault"
)

// errManyHealthCalls is the answer when there are too many calls of the health service.
var errManyHealthCalls = fault.New(fault.RateLimited, "the broker answers as many calls for its health as it may at once: try again")

// Unary is an interceptor for the unary methods of other services than the broker's: health. After
// it comes one that recovers.
func (s *Service) Unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (response any, err error) {
	c := s.begin(ctx, s.other(info.FullMethod, false))
	defer func() { err = c.end(err, recover()) }()
	c.method.metrics.Received.Inc()
	if err := c.enterOther(); err != nil {
		return nil, err
	}
	return handle(ctx, request)
}

// Stream is an interceptor for the streams of other services: health and reflection. After it comes
// one that recovers.
func (s *Service) Stream(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	if strings.HasPrefix(info.FullMethod, "/"+authmaterialv1.BrokerService_ServiceDesc.ServiceName+"/") {
		return handle(service, stream) // which does all of this itself
	}
	c := s.begin(stream.Context(), s.other(info.FullMethod, true))
	defer func() { err = c.end(err, recover()) }()
	if err := c.enterOther(); err != nil {
		return err
	}
	return handle(service, countedStream{stream, c.method.metrics})
}

// other returns a method of another service.
func (s *Service) other(name string, stream bool) *method {
	if known, ok := s.others.Load(name); ok {
		return known.(*method)
	}
	known, _ := s.others.LoadOrStore(name, s.newMethod(name, stream))
	return known.(*method)
}

// enterOther counts a call of another service. Who calls matters to all but the health service.
func (c *call) enterOther() error {
	s := c.service
	if why, refused := c.ctx.Value(headersKey{}).(*fault.Error); refused {
		return c.refuseHeaders(why)
	}
	if !strings.HasPrefix(c.method.name, "/"+grpc_health_v1.Health_ServiceDesc.ServiceName+"/") {
		_, _, err := c.identify(1)
		return err
	}
	conn := peerOf(c.ctx).Conn
	if !s.admission.BeginHealth(conn) {
		c.ended.Excess = true
		return errManyHealthCalls
	}
	c.health = conn
	return nil
}

// countedStream counts the messages of a stream.
type countedStream struct {
	grpc.ServerStream
	metrics *MethodMetrics
}

// RecvMsg implements grpc.ServerStream.
func (s countedStream) RecvMsg(message any) error {
	err := s.ServerStream.RecvMsg(message)
	if err == nil {
		s.metrics.Received.Inc()
	}
	return err
}

// SendMsg implements grpc.ServerStream.
func (s countedStream) SendMsg(message any) error {
	err := s.ServerStream.SendMsg(message)
	if err == nil {
		s.metrics.Sent.Inc()
	}
	return err
}
