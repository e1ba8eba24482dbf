package server

import (
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/reflection"

	"github.com/authmaterial/broker/internal/observe"
	"github.com/authmaterial/broker/internal/rpc"
)

const (
	// The flow-control window limits how many bytes of a stream, or of a connection, may be in
	// transit. HTTP/2 cannot start with a smaller window, and this window does not grow.
	window = 64 << 10
	// headerExcess is how many bytes of headers gRPC still reads beyond the limit `header_bytes`,
	// so that the broker can refuse a single call. If headers exceed gRPC's own limit, gRPC closes
	// the whole connection.
	headerExcess = 64 << 10
)

// TransportOptions returns the gRPC server's options that do not depend on the broker's service.
// Benchmarks compare the broker with other servers that have the same options.
func TransportOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		// ConnectionTimeout is how long a stopping server waits for a connection that has not
		// finished its handshake and sends no data.
		grpc.ConnectionTimeout(5 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			// When a connection reaches the age MaxConnectionAge, which varies by a tenth, its
			// client opens a new connection, so that new replicas get their share. Calls on the old
			// connection finish. After the grace period, the old connection is closed, which ends
			// watches whose clients do not read.
			MaxConnectionAge:      30 * time.Minute,
			MaxConnectionAgeGrace: rpc.MaxWatchAge,
			// Connections on which no data has arrived for the duration Time are pinged.
			Time:    30 * time.Second,
			Timeout: 10 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: 10 * time.Second, PermitWithoutStream: true,
		}),
		grpc.StaticStreamWindowSize(window),
		grpc.StaticConnWindowSize(window),
		grpc.ReadBufferSize(8 << 10), // this size is enough, because requests have about a hundred bytes
		// A buffer pool would keep memory in use after large messages.
		experimental.BufferPool(mem.NopBufferPool{}),
		// The stacks of these worker goroutines have already grown, so that they need not grow
		// again in each call. When all workers are busy, for example with calls that wait for the
		// audit, a call gets a new goroutine.
		grpc.NumStreamWorkers(128),
	}
}

// newGRPC returns a gRPC server with the broker's service, the health service and, if configured,
// reflection. Unary calls of the broker's service pass through no interceptors, because package rpc
// does their work itself.
func (s *Server) newGRPC(service *rpc.Service, traces *observe.Traces) *grpc.Server {
	limits := s.fixed.Limits
	recovered := recovery.WithRecoveryHandlerContext(service.Recovered)
	server := grpc.NewServer(append(append(traces.ServerOptions(), TransportOptions()...),
		grpc.Creds(s.newHandshakes(service)),
		grpc.ForceServerCodecV2(rpc.NewCodec()),
		grpc.MaxConcurrentStreams(uint32(limits.StreamsPerConnection)), //nolint:gosec // the configured limit is at most a million
		grpc.MaxRecvMsgSize(limits.MessageBytes),
		grpc.InTapHandle(service.HeaderLimit(limits.HeaderBytes)),
		grpc.MaxHeaderListSize(uint32(limits.HeaderBytes+headerExcess)), //nolint:gosec // the sum is at most two mebibytes
		// With this option, GracefulStop also waits for calls whose clients have disconnected.
		grpc.WaitForHandlers(true),
		grpc.ChainUnaryInterceptor(service.Unary, recovery.UnaryServerInterceptor(recovered)),
		grpc.ChainStreamInterceptor(service.Stream, recovery.StreamServerInterceptor(recovered)),
	)...)
	service.Register(server)
	grpc_health_v1.RegisterHealthServer(server, healthService{stopping: s.stopping})
	if s.fixed.Listen.Reflection {
		reflection.Register(server)
	}
	return server
}
