package server_test

import (
	"net/http"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
)

func TestServes(t *testing.T) {
	for network, start := range map[string]func(*testing.T) harness{
		"tcp":  func(t *testing.T) harness { return serve(t) },
		"unix": serveUnix,
	} {
		t.Run(network, func(t *testing.T) {
			h := start(t)
			if got := h.grpc.Addr().Network(); got != network {
				t.Fatalf("the server listens on %s", got)
			}
			for _, id := range []string{"key-of-board", "token-of-mail"} {
				if err := h.get(id); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
			h.wantHealth("")
			h.wantHealth(brokerService)
			h.wantAnswer("/livez", http.StatusOK, "ok\n")
			h.wantAnswer("/readyz", http.StatusOK, "ok\n")
			if code, _, _ := h.fetch("/metrics"); code != http.StatusOK {
				t.Errorf("/metrics answers %d", code)
			}
			if code, _, _ := h.fetch("/"); code != http.StatusNotFound {
				t.Errorf("/ answers %d, want 404", code)
			}
		})
	}
}

func TestHealthOfUnknownServices(t *testing.T) {
	h := serve(t)
	_, err := grpc_health_v1.NewHealthClient(h.conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "other.v1.Service"})
	if status.Code(err) != codes.NotFound {
		t.Errorf("the code is %v, want NotFound", status.Code(err))
	}
}

func TestReflectionListsTheServices(t *testing.T) {
	h := serve(t)
	stream, err := grpc_reflection_v1.NewServerReflectionClient(h.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	})
	if err != nil {
		t.Fatal(err)
	}
	response, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, service := range response.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	want := []string{
		brokerService, "authmaterial.v1.CredentialService", "authmaterial.v1.ProviderService",
		"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
	}
	if !slices.Equal(names, want) {
		t.Errorf("reflection lists %q, want %q", names, want)
	}
	err = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: brokerService},
	})
	if err != nil {
		t.Fatal(err)
	}
	response, err = stream.Recv()
	if err != nil || len(response.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Errorf("reflection does not describe the service: %v", err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("the reflection stream continues after its last answer")
	}
}

// When the HTTP listener starts first, /readyz must report success only after gRPC is served.
func TestReadyOnceGRPCIsServed(t *testing.T) {
	h := newServer(t)
	h.http = listenTCP(t)
	served := make(chan error, 2)
	go func() { served <- h.server.ServeHTTP(h.http) }()
	h.wantAnswer("/readyz", http.StatusServiceUnavailable, "not serving\n")
	h.wantAnswer("/livez", http.StatusOK, "ok\n")

	h.grpc = listenTCP(t)
	go func() { served <- h.server.ServeGRPC(h.grpc) }()
	h.conn = connect(t, h.grpc.Addr())
	h.wantHealth("")
	h.wantAnswer("/readyz", http.StatusOK, "ok\n")

	h.server.Stop(t.Context())
	for range 2 {
		if err := <-served; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	}
}
