package server

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// endingHealth is gRPC's health service, but that a watch ends with the server: clients
// that check health keep one open, and it would hold Stop up.
type endingHealth struct {
	*health.Server
	stopping func(context.Context) error // what a watch ends with
}

// Watch streams the health of a service until the server stops.
func (h endingHealth) Watch(request *grpc_health_v1.HealthCheckRequest, stream grpc_health_v1.Health_WatchServer) error {
	watch := &endingWatch{Health_WatchServer: stream}
	if _, err := h.Check(stream.Context(), request); status.Code(err) == codes.NotFound {
		// The services are known from the start. So there is nothing more to tell of this
		// one, and its watch follows the server's own health to the end.
		if err := stream.Send(&grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN}); err != nil {
			return err
		}
		watch.silent, request = true, &grpc_health_v1.HealthCheckRequest{}
	}
	err := h.Server.Watch(request, watch)
	if watch.ended {
		return h.stopping(stream.Context())
	}
	return err
}

// endingWatch is a stream that ends after NOT_SERVING.
type endingWatch struct {
	grpc_health_v1.Health_WatchServer
	silent bool // nothing is sent
	ended  bool
}

var errEnded = errors.New("the last state was sent")

// Send fails after the last state.
func (w *endingWatch) Send(state *grpc_health_v1.HealthCheckResponse) error {
	if !w.silent {
		if err := w.Health_WatchServer.Send(state); err != nil {
			return err
		}
	}
	if state.GetStatus() == grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		w.ended = true
		return errEnded
	}
	return nil
}
