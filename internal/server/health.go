package server

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/fault"
)

// healthService is gRPC's health service. When the server stops, healthService ends the watches of
// the server's health. The service in package grpc/health does not end watches, and Stop would wait
// for them, because clients keep them open.
type healthService struct {
	healthpb.UnimplementedHealthServer
	stopping context.Context
}

// healthNames are the services whose health can be asked for. The empty name stands for the server.
var healthNames = []string{
	"", authmaterialv1.BrokerService_ServiceDesc.ServiceName,
	authmaterialv1.CredentialService_ServiceDesc.ServiceName, authmaterialv1.ProviderService_ServiceDesc.ServiceName,
}

// response returns the health of a service, or SERVICE_UNKNOWN if there is no such service.
func (h healthService) response(service string) *healthpb.HealthCheckResponse {
	state := healthpb.HealthCheckResponse_SERVING
	switch {
	case !slices.Contains(healthNames, service):
		state = healthpb.HealthCheckResponse_SERVICE_UNKNOWN
	case h.stopping.Err() != nil:
		state = healthpb.HealthCheckResponse_NOT_SERVING
	}
	return &healthpb.HealthCheckResponse{Status: state}
}

func (h healthService) Check(
	_ context.Context, request *healthpb.HealthCheckRequest,
) (*healthpb.HealthCheckResponse, error) {
	response := h.response(request.GetService())
	if response.GetStatus() == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	return response, nil
}

func (h healthService) List(context.Context, *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	all := map[string]*healthpb.HealthCheckResponse{}
	for _, service := range healthNames {
		all[service] = h.response(service)
	}
	return &healthpb.HealthListResponse{Statuses: all}, nil
}

// Watch streams the health of a service until the server stops.
func (h healthService) Watch(request *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	ctx, first := stream.Context(), h.response(request.GetService())
	if err := stream.Send(first); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	case <-h.stopping.Done():
	}
	if last := h.response(request.GetService()); last.GetStatus() != first.GetStatus() {
		if err := stream.Send(last); err != nil {
			return err
		}
	}
	return fault.New(fault.ServerStopping, "the broker is stopping") // package rpc converts it to a gRPC status
}
