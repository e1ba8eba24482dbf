package server

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// endingHealth is gRPC's health service, but that a watch ends once it has said
// NOT_SERVING: clients that check health keep one open, and it would hold Stop up.
type endingHealth struct {
	*health.Server
}

// Watch streams the health of a service until the server stops.
func (h endingHealth) Watch(request *grpc_health_v1.HealthCheckRequest, stream grpc_health_v1.Health_WatchServer) error {
	return h.Server.Watch(request, endingWatch{stream})
}

type endingWatch struct {
	grpc_health_v1.Health_WatchServer
}

// Send fails after the last state.
func (w endingWatch) Send(state *grpc_health_v1.HealthCheckResponse) error {
	if err := w.Health_WatchServer.Send(state); err != nil {
		return err
	}
	if state.GetStatus() == grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		return status.Error(codes.Unavailable, "the server is stopping")
	}
	return nil
}
