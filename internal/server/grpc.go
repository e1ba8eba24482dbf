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
	// transit. HTTP/2 cannot start with a smaller window. The window does not grow.
	window = 64 << 10
	// headerExcess is how many bytes of headers gRPC still reads beyond the limit
	// `header_bytes`. The broker can then refuse a single call with too large headers. If gRPC
	// did not read these headers, gRPC would close the whole connection.
	headerExcess = 64 << 10
)

// TransportOptions returns the options of the gRPC server that do not depend on the broker's
// service. Benchmarks use the same options for other servers, with which they compare the
// broker.
func TransportOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		// The time that a stopping server waits for a connection that has not finished its
		// handshake and sends no data.
		grpc.ConnectionTimeout(5 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			// The maximum age of a connection, which varies by a tenth. When a connection
			// reaches this age, its client opens a new connection, so that new replicas get
			// their share of connections. Calls on the old connection finish. The old connection
			// is closed after the grace period, which ends watches whose clients do not read.
			MaxConnectionAge:      30 * time.Minute,
			MaxConnectionAgeGrace: rpc.MaxWatchAge,
			// gRPC pings a connection on which no data has arrived for 30 seconds.
			Time:    30 * time.Second,
			Timeout: 10 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: 10 * time.Second, PermitWithoutStream: true,
		}),
		grpc.StaticStreamWindowSize(window),
		grpc.StaticConnWindowSize(window),
		grpc.ReadBufferSize(8 << 10), // requests are about a hundred bytes long
		// No buffer pool: a pool would keep memory in use after large messages.
		experimental.BufferPool(mem.NopBufferPool{}),
		// These worker goroutines wait for calls. Their stacks have already grown, so they need
		// not grow again in each call. When all workers are busy, for example with calls that
		// wait for the audit, a call gets a new goroutine.
		grpc.NumStreamWorkers(128),
	}
}

// newGRPC returns a gRPC server with the broker's service, the health service and, if
// configured, reflection. Unary calls of the broker's service do not pass through interceptors,
// because package rpc does the same work without interceptors.
func (s *Server) newGRPC(service *rpc.Service, traces *observe.Traces) *grpc.Server {
	limits := s.fixed.Limits
	recovered := recovery.WithRecoveryHandlerContext(service.Recovered)
	server := grpc.NewServer(append(append(traces.ServerOptions(), TransportOptions()...),
		grpc.Creds(s.newHandshakes(service)),
		grpc.ForceServerCodecV2(rpc.NewCodec()),
		grpc.MaxConcurrentStreams(uint32(limits.StreamsPerConnection)), //nolint:gosec // the value is at most a million
		grpc.MaxRecvMsgSize(limits.MessageBytes),
		grpc.InTapHandle(service.HeaderLimit(limits.HeaderBytes)),
		grpc.MaxHeaderListSize(uint32(limits.HeaderBytes+headerExcess)), //nolint:gosec // the value is at most two mebibytes
		// Makes GracefulStop wait also for calls whose clients have disconnected.
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
