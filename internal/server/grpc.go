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
	// pingTime is after how much silence a connection is asked whether it is still there,
	// and pingTimeout how long that may take to answer.
	pingTime    = 30 * time.Second
	pingTimeout = 10 * time.Second
	// pingInterval is how often a client may ask that.
	pingInterval = 10 * time.Second
	// window is how much of a stream or a connection is on its way unread, in bytes: the
	// least that HTTP/2 can begin with. It stays that much.
	window = 64 << 10
	// readBuffer is that of a connection, in bytes. Requests have about a hundred.
	readBuffer = 8 << 10
	// streamWorkers is how many goroutines wait for calls, with stacks that have grown
	// already. A call that finds none gets a goroutine of its own. While calls wait for the audit,
	// so do they.
	streamWorkers = 128
)

// TransportOptions are the options of the gRPC server that have nothing to do with what it serves:
// a server to compare the broker with has the same.
func TransportOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		// A connection that says nothing holds Stop up for this long.
		grpc.ConnectionTimeout(connectionTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge:      connectionAge,
			MaxConnectionAgeGrace: rpc.MaxWatchAge,
			Time:                  pingTime,
			Timeout:               pingTimeout,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingInterval, PermitWithoutStream: true}),
		grpc.StaticStreamWindowSize(window),
		grpc.StaticConnWindowSize(window),
		grpc.ReadBufferSize(readBuffer),
		// A pool would keep memory after large messages.
		experimental.BufferPool(mem.NopBufferPool{}),
		grpc.NumStreamWorkers(streamWorkers),
	}
}

// newGRPC returns a server with the broker's service and health on it, and perhaps reflection.
// Calls of the broker's service pass no interceptor but for spans: package rpc has all of it.
func (s *Server) newGRPC(service *rpc.Service, traces *tracing) *grpc.Server {
	recovered := recovery.WithRecoveryHandlerContext(service.Recovered)
	server := grpc.NewServer(append(append(traces.serverOptions(), TransportOptions()...),
		grpc.Creds(newHandshakes(s, service)),
		grpc.ForceServerCodecV2(rpc.NewCodec()),
		grpc.MaxConcurrentStreams(uint32(s.limits.StreamsPerConnection)), //nolint:gosec // a million at most
		grpc.MaxRecvMsgSize(s.limits.MessageBytes),
		grpc.InTapHandle(rpc.HeaderLimit(s.limits.HeaderBytes)),
		grpc.MaxHeaderListSize(uint32(s.limits.HeaderBytes+headerExcess)), //nolint:gosec // little more than a mebibyte at most
		// The calls of clients that have gone away count as under way too.
		grpc.WaitForHandlers(true),
		grpc.ChainUnaryInterceptor(service.Unary, recovery.UnaryServerInterceptor(recovered)),
		grpc.ChainStreamInterceptor(service.Stream, recovery.StreamServerInterceptor(recovered)),
	)...)
	service.Register(server)
	grpc_health_v1.RegisterHealthServer(server, endingHealth{s.health, service.Stopping})
	s.health.SetServingStatus(authmaterialv1.BrokerService_ServiceDesc.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
	if s.listen.Reflection {
		reflection.Register(server)
	}
	return server
}
