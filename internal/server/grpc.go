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
	// window is how many bytes of a stream or a connection may be in transit. HTTP/2 cannot
	// begin with a smaller window than this; the window does not grow.
	window = 64 << 10
	// headerExcess is how many bytes of headers gRPC still reads beyond the limit header_bytes,
	// so that the broker can refuse a single call. gRPC closes the whole connection if it does
	// not read the headers of a call.
	headerExcess = 64 << 10
)

// TransportOptions returns the options of the gRPC server that do not depend on the broker's
// service. Benchmarks use these options for servers with which the broker is compared.
func TransportOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		// When a server stops, it waits this long for the handshake of a connection on which no
		// data arrives.
		grpc.ConnectionTimeout(5 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			// At this age of a connection, give or take a tenth, the client opens a new
			// connection, so that new replicas get their share of connections. Calls on the old
			// connection finish. After the grace period the old connection is closed, which ends
			// watches whose clients do not read.
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
		// These worker goroutines wait for calls, with stacks that have already grown. When all
		// workers are busy, for example with calls that wait for the audit, a call gets a new
		// goroutine.
		grpc.NumStreamWorkers(128),
	}
}

// newGRPC returns a gRPC server with the broker's service, the health service and, if
// configured, reflection. Unary calls of the broker's service do not go through interceptors:
// package rpc does the interceptors' work.
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
