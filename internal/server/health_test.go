package server_test

import (
	"testing"

	"google.golang.org/grpc/health/grpc_health_v1"
)

// TestHealthWatchEndsWithTheServer shows that a client which checks health does not
// hold the end of the server up.
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
	if _, err := stream.Recv(); err == nil {
		t.Error("the watch goes on after NOT_SERVING")
	}
}
