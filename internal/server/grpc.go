package server

import (
	"log/slog"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/rpc"
)

const (
	// connectionTimeout bounds the handshake of a connection.
	connectionTimeout = 5 * time.Second
	// connectionAge is when clients are told to connect again, give or take a tenth, so
	// that new replicas get their share. Calls and watches on the old connection end by
	// themselves; watches have rpc.MaxWatchAge, after which the connection is closed. That
	// ends those which nobody reads.
	connectionAge = 30 * time.Minute
	// streamWorkers is how many goroutines wait for calls, with stacks that have grown
	// already. A call that finds none gets a goroutine of its own.
	streamWorkers = 32
)

// newGRPC returns a server with the broker's service, health and reflection on it.
// From the outside in, a call passes traces, metrics, log and recovery.
func newGRPC(service *rpc.Service, healthServer *health.Server, logger *slog.Logger, metrics *metrics, traces *tracing) *grpc.Server {
	callLog := callLogger{logger}
	recovered := recovery.WithRecoveryHandlerContext(service.Recovered)
	server := grpc.NewServer(append(traces.serverOptions(),
		// A connection that says nothing holds Stop up for this long.
		grpc.ConnectionTimeout(connectionTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge:      connectionAge,
			MaxConnectionAgeGrace: rpc.MaxWatchAge,
		}),
		grpc.NumStreamWorkers(streamWorkers),
		// The calls of clients that have gone away count as under way too.
		grpc.WaitForHandlers(true),
		grpc.ChainUnaryInterceptor(
			metrics.grpc.UnaryServerInterceptor(),
			interceptors.UnaryServerInterceptor(callLog),
			recovery.UnaryServerInterceptor(recovered),
		),
		grpc.ChainStreamInterceptor(
			metrics.grpc.StreamServerInterceptor(),
			interceptors.StreamServerInterceptor(callLog),
			recovery.StreamServerInterceptor(recovered),
		),
	)...)
	authmaterialv1.RegisterBrokerServiceServer(server, service)
	grpc_health_v1.RegisterHealthServer(server, endingHealth{healthServer, service.Stopping})
	healthServer.SetServingStatus(authmaterialv1.BrokerService_ServiceDesc.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
	reflection.Register(server)
	metrics.grpc.InitializeMetrics(server)
	return server
}
