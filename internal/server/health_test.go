package server_test

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func TestHealthWatchEndsWithTheServer(t *testing.T) {
	h := serve(t)
	stream, err := grpc_health_v1.NewHealthClient(h.conn).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []grpc_health_v1.HealthCheckResponse_ServingStatus{
		grpc_health_v1.HealthCheckResponse_SERVING, grpc_health_v1.HealthCheckResponse_NOT_SERVING,
	} {
		state, err := stream.Recv()
		if err != nil || state.GetStatus() != want {
			t.Fatalf("the health is %v, %v; want %v", state.GetStatus(), err, want)
		}
		if want == grpc_health_v1.HealthCheckResponse_SERVING {
			go h.server.Stop(t.Context())
		}
	}
	_, err = stream.Recv()
	h.wantError(err, codes.Unavailable, "SERVER_STOPPING", "the broker is stopping")
}

func TestHealthWatchOfAnUnknownServiceEndsWithTheServer(t *testing.T) {
	h := serve(t)
	stream, err := grpc_health_v1.NewHealthClient(h.conn).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "no.such.Service"})
	if err != nil {
		t.Fatal(err)
	}
	h.wantNext(stream, grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN)
	h.server.Stop(t.Context())
	if n := len(h.log.lines(t, "calls have not finished: cancelling their token requests")); n != 0 {
		t.Error("the watch delays the server's stop")
	}
	_, err = stream.Recv()
	h.wantError(err, codes.Unavailable, "SERVER_STOPPING", "the broker is stopping")
}
