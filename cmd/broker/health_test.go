package main

import (
	"bytes"
	"fmt"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func TestHealthOfServersThatDoNotServe(t *testing.T) {
	for name, test := range map[string]struct {
		register func(*grpc.Server)
		want     string
	}{
		"a broker that is stopping": {
			register: func(server *grpc.Server) {
				stopping := health.NewServer()
				stopping.Shutdown()
				grpc_health_v1.RegisterHealthServer(server, stopping)
			},
			want: "the broker on %s does not serve: NOT_SERVING\n",
		},
		"another server": {
			register: func(*grpc.Server) {},
			want:     "the server on %s is not a broker, or is an older version: unknown service grpc.health.v1.Health\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			address := serveGRPC(t, test.register)
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), []string{"health", "--address", address, "--timeout", patience.String()}, &stdout, &stderr)
			if want := fmt.Sprintf(test.want, address); code != exitProblem || stderr.String() != want || stdout.Len() > 0 {
				t.Errorf("the command health exits with %d, and prints %q on stdout and %q on stderr; want exit code %d and %q on stderr", code, stdout.String(), stderr.String(), exitProblem, want)
			}
		})
	}
}

func serveGRPC(t *testing.T, register func(*grpc.Server)) (address string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	register(server)
	t.Cleanup(server.Stop)
	go server.Serve(listener) //nolint:errcheck // the error of Serve does not matter: if serving fails, the test's calls fail too
	return listener.Addr().String()
}
