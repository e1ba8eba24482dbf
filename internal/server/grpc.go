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
	// window is how many bytes of a stream or a connection may be in transit: the least with
	// which HTTP/2 can begin. It does not grow.
	window = 64 << 10
	// headerExcess is how many bytes beyond header_bytes gRPC still reads, so that the broker can
	// refuse the call alone. If gRPC does not read the headers of a call, it closes the connection.
	headerExcess = 64 << 10
)

// TransportOptions returns the options of the gRPC server that do not depend on what it serves, for
// servers that the broker is compared with.
func TransportOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		// Stop waits this long for the handshake of a connection that sends nothing.
		grpc.ConnectionTimeout(5 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			// Clients connect again at this age, give or take a tenth, so that new replicas get their
			// share of connections. Calls on the old connection end by themselves; after the grace it
			// is closed, which ends watches that nobody reads.
			MaxConnectionAge:      30 * time.Minute,
			MaxConnectionAgeGrace: rpc.MaxWatchAge,
			// A silent connection is pinged.
			Time:    30 * time.Second,
			Timeout: 10 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: 10 * time.Second, PermitWithoutStream: true,
		}),
		grpc.StaticStreamWindowSize(window),
		grpc.StaticConnWindowSize(window),
		grpc.ReadBufferSize(8 << 10), // requests have about a hundred bytes
		// A pool would keep memory after large messages.
		experimental.BufferPool(mem.NopBufferPool{}),
		// These goroutines wait for calls, with stacks that have already grown. A call that finds all
		// of them busy, such as with calls that wait for the audit, gets a goroutine of its own.
		grpc.NumStreamWorkers(128),
	}
}

// newGRPC returns a server of the broker's service, health and, if configured, reflection. Unary
// calls of the broker's service pass no interceptor: package rpc does all of their work.
func (s *Server) newGRPC(service *rpc.Service, traces *observe.Traces) *grpc.Server {
	limits := s.fixed.Limits
	recovered := recovery.WithRecoveryHandlerContext(service.Recovered)
	server := grpc.NewServer(append(append(traces.ServerOptions(), TransportOptions()...),
		grpc.Creds(s.newHandshakes(service)),
		grpc.ForceServerCodecV2(rpc.NewCodec()),
		grpc.MaxConcurrentStreams(uint32(limits.StreamsPerConnection)), //nolint:gosec // a million at most
		grpc.MaxRecvMsgSize(limits.MessageBytes),
		grpc.InTapHandle(service.HeaderLimit(limits.HeaderBytes)),
		grpc.MaxHeaderListSize(uint32(limits.HeaderBytes+headerExcess)), //nolint:gosec // two mebibytes at most
		// GracefulStop also waits for calls of clients that have disconnected.
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
