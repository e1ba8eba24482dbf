package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/rpc"
)

// guard holds calls to the limits. Interceptors run before the message of a unary call is
// received: who may not call cannot have the server keep a message, or wait for one.
type guard struct {
	limits *limits
	// refuse makes a status of a fault.
	refuse func(context.Context, error) error
}

// refusal is the status of a call that was refused because of a limit, or of its message.
type refusal struct{ error }

// GRPCStatus returns the status itself.
func (r refusal) GRPCStatus() *status.Status { return status.Convert(r.error) }

// over refuses a call.
func (g guard) over(ctx context.Context, of limit, caller, message string, retry time.Duration) error {
	g.limits.bite(of, caller)
	return refusal{g.refuse(ctx, fault.New(fault.RateLimited, message).WithRetryDelay(retry))}
}

const (
	tooManyAtOnce = "the broker answers as many calls as it may at once: try again"
	unread        = "the broker keeps as much as it may for calls that wait, and for answers that were not read: read them, or try again"
)

// answerBytes is what the answer for one of several credentials takes up while it is made.
const answerBytes = 2 << 10

// enter begins a call, or refuses it. Then leave has to follow.
func (g guard) enter(ctx context.Context, by *held, method string) (atOnce *shares[origins], err error) {
	if headers, ok := ctx.Value(refusedHeadersKey{}).(refusedHeaders); ok {
		by.giveLater(headers.bytes)
		g.limits.bite(limitHeader, "")
		return nil, refusal{g.refuse(ctx, headers.why)}
	}
	atOnce, of := g.limits.calls, limitConcurrent
	if strings.HasPrefix(method, healthMethods) { // they need no proof, and keep no others out
		atOnce, of = g.limits.health, limitHealth
	}
	if !by.enter(atOnce) {
		return nil, g.over(ctx, of, "", tooManyAtOnce, 0)
	}
	return atOnce, nil
}

var errManyHeaders = &fault.Error{
	Reason:     fault.InvalidRequest,
	Message:    "the call has too many headers",
	Violations: []fault.Violation{{Field: "headers", Description: fmt.Sprintf("%d is the most", maxHeaders)}},
}

// healthMethods is what the names of the health service's methods begin with.
var healthMethods = "/" + grpc_health_v1.Health_ServiceDesc.ServiceName + "/"

// unary is the first of the interceptors.
func (g guard) unary(ctx context.Context, request any, call *grpc.UnaryServerInfo, answer grpc.UnaryHandler) (any, error) {
	by := holderOf(ctx)
	atOnce, err := g.enter(ctx, by, call.FullMethod)
	if err != nil {
		return nil, err
	}
	defer by.leave(atOnce)
	result, err := answer(ctx, request)
	if err != nil {
		return nil, err
	}
	result, ok := hold(result, by)
	if !ok {
		return nil, g.over(ctx, limitMemory, "", unread, 0)
	}
	return result, nil
}

// stream is the first of the interceptors.
func (g guard) stream(service any, stream grpc.ServerStream, call *grpc.StreamServerInfo, answer grpc.StreamHandler) error {
	by := holderOf(stream.Context())
	atOnce, err := g.enter(stream.Context(), by, call.FullMethod)
	if err != nil {
		return err
	}
	defer by.leave(atOnce)
	return answer(service, holdingStream{stream, g})
}

// registrar registers services with a server, guarded.
type registrar struct {
	*grpc.Server
	guard guard
}

// RegisterService implements grpc.ServiceRegistrar.
func (r registrar) RegisterService(description *grpc.ServiceDesc, service any) {
	guarded := *description
	guarded.Methods = make([]grpc.MethodDesc, len(description.Methods))
	for i, method := range description.Methods {
		guarded.Methods[i] = grpc.MethodDesc{MethodName: method.MethodName, Handler: r.guard.method(method.Handler)}
	}
	guarded.Streams = make([]grpc.StreamDesc, len(description.Streams))
	for i, method := range description.Streams {
		guarded.Streams[i] = method
		guarded.Streams[i].Handler = r.guard.watch(method.Handler)
	}
	r.Server.RegisterService(&guarded, service)
}

// method has a unary call pass the interceptors with an empty message, and receive it then.
func (g guard) method(handle grpc.MethodHandler) grpc.MethodHandler {
	later := func(any) error { return nil }
	return func(service any, ctx context.Context, receive func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		return handle(service, ctx, later, func(ctx context.Context, request any, info *grpc.UnaryServerInfo, answer grpc.UnaryHandler) (any, error) {
			return intercept(ctx, request, info, func(ctx context.Context, request any) (any, error) {
				if err := g.received(ctx, request, receive(request)); err != nil {
					return nil, err
				}
				by, size := holderOf(ctx), answerBytes*credentialsOf(request)
				if size > answerBytes {
					if !by.take(size) {
						return nil, g.over(ctx, limitMemory, "", unread, 0)
					}
					defer by.give(size)
				}
				return answer(ctx, request)
			})
		})
	}
}

// watch counts the watches of a caller, those alone that ask for credentials.
func (g guard) watch(handle grpc.StreamHandler) grpc.StreamHandler {
	return func(service any, stream grpc.ServerStream) error {
		watch := &guardedStream{ServerStream: stream, guard: g}
		defer func() {
			if watch.caller != "" {
				g.limits.callers.unwatch(watch.caller)
			}
		}()
		return handle(service, watch)
	}
}

// guardedStream is a stream of which a caller has so many.
type guardedStream struct {
	grpc.ServerStream
	guard  guard
	caller string // whose watch it is
}

// RecvMsg implements grpc.ServerStream.
func (s *guardedStream) RecvMsg(request any) error {
	if err := s.guard.received(s.Context(), request, s.ServerStream.RecvMsg(request)); err != nil {
		return err
	}
	caller, limited := limitedCaller(s.Context())
	if !limited || s.caller != "" || credentialsOf(request) == 0 {
		return nil
	}
	if !s.guard.limits.callers.watch(caller) {
		return s.guard.over(s.Context(), limitWatches, caller, "the caller has as many watches as it may: end others, or ask for more credentials in one", time.Minute)
	}
	s.caller = caller
	return nil
}

// received says whether a call may go on with what was received of it. That its message is
// none, or not whole, is the client's fault, whatever gRPC calls it.
func (g guard) received(ctx context.Context, request any, err error) error {
	if answer, ok := status.FromError(err); ok && err != nil { // io.EOF is none
		if answer.Code() == codes.ResourceExhausted {
			g.limits.bite(limitMessage, "")
		}
		return refusal{err}
	}
	caller, limited := limitedCaller(ctx)
	if err != nil || !limited {
		return err
	}
	if wait := g.limits.callers.spend(caller, max(1, credentialsOf(request)), g.limits.clock.Now()); wait > 0 {
		return g.over(ctx, limitCalls, caller, "the caller makes more calls than it may: wait", wait)
	}
	return nil
}

// limitedCaller returns who calls. Where callers are not told apart, none is limited: each
// would use up what is for all.
func limitedCaller(ctx context.Context) (name string, limited bool) {
	caller := rpc.CallerOf(ctx)
	return caller.Name, caller.Name != "" && caller.Method != authentication.MethodNone
}

// credentialsOf is how many credentials a request is about; 0 for one of health or
// reflection.
func credentialsOf(request any) int {
	switch r := request.(type) {
	case interface{ GetCredentialId() string }:
		return 1
	case interface{ GetCredentialIds() []string }:
		return min(len(r.GetCredentialIds()), maxCounted)
	}
	return 0
}

// maxCounted is the most that one request counts for. What asks for more is malformed.
const maxCounted = 100
