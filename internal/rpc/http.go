package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/gen/authmaterial/v1/authmaterialv1connect"
)

// WithPeer returns a context for a call over HTTP, with the client of the connection, and the
// headers of the request that contain the caller's token and the trace of the call.
func WithPeer(r *http.Request, p *Peer) context.Context {
	ctx := peer.NewContext(r.Context(), &peer.Peer{Addr: address(p.Address), AuthInfo: p})
	return metadata.NewIncomingContext(ctx, metadata.MD{
		"authorization": r.Header.Values("Authorization"),
		"traceparent":   r.Header.Values("Traceparent"),
		"tracestate":    r.Header.Values("Tracestate"),
	})
}

// address is the net.Addr of a client over HTTP.
type address string

// Network implements net.Addr.
func (address) Network() string { return "tcp" }

// String implements net.Addr.
func (a address) String() string { return string(a) }

// httpHandler serves the unary methods of CredentialService and ProviderService by the Connect
// protocol.
type httpHandler struct {
	service *Service
	methods map[string]*method // by path
	inner   http.Handler
}

// HTTP returns a handler that serves the unary methods of CredentialService and ProviderService by
// the Connect protocol. The handler identifies and counts callers, records calls and reports errors
// as gRPC calls do. The context of each request must be from WithPeer.
func (s *Service) HTTP() http.Handler {
	h := &httpHandler{service: s, methods: map[string]*method{}}
	for _, service := range []grpc.ServiceDesc{authmaterialv1.CredentialService_ServiceDesc, authmaterialv1.ProviderService_ServiceDesc} {
		for _, description := range service.Methods {
			name := "/" + service.ServiceName + "/" + description.MethodName
			h.methods[name] = s.newMethod(name, false)
		}
	}
	options := []connect.HandlerOption{
		connect.WithInterceptors(connect.UnaryInterceptorFunc(s.answerHTTP)),
		connect.WithCodec(jsonCodec{"json"}), connect.WithCodec(jsonCodec{"json; charset=utf-8"}),
		connect.WithCompression("gzip", nil, nil), // a small message can be decompressed to a large one
		connect.WithRequireConnectProtocolHeader(),
	}
	mux := http.NewServeMux()
	mux.Handle(authmaterialv1connect.NewCredentialServiceHandler(unaryCredentials{s.options.Credentials}, options...))
	mux.Handle(authmaterialv1connect.NewProviderServiceHandler(new(Providers), options...))
	h.inner = mux
	return h
}

// unaryCredentials is CredentialService over HTTP, without the method that sends a stream.
type unaryCredentials struct{ *Credentials }

// WatchCredentialStates implements CredentialServiceHandler.
func (unaryCredentials) WatchCredentialStates(
	context.Context, *authmaterialv1.WatchCredentialStatesRequest, *connect.ServerStream[authmaterialv1.WatchCredentialStatesResponse],
) error {
	return connect.NewError(connect.CodeUnimplemented, nil)
}

// httpCall is the result of a call over HTTP.
type httpCall struct {
	*call

	readable bool  // whether the request could be read
	err      error // a status error
}

type httpCallKey struct{}

// errUnreadable is the error of a call whose request the Connect protocol refuses. The client gets
// an error that explains why.
var errUnreadable = status.Error(codes.InvalidArgument, "the request could not be read")

// ServeHTTP implements http.Handler. The caller is identified before the request is read, because a
// request can be large.
func (h *httpHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := h.methods[r.URL.Path]
	if m == nil {
		h.service.WriteHTTPError(w, r, status.Error(codes.NotFound, "there is no such method: HTTP serves the methods of CredentialService and ProviderService, except WatchCredentialStates"))
		return
	}
	ctx, ended := h.service.traceHTTP(r.Context(), m.name)
	r = r.WithContext(ctx)
	c := h.service.begin(ctx, m)
	var err error
	answered := false
	defer func() {
		cause := recover()
		if err = c.end(err, cause); err != nil && (!answered || cause != nil) {
			h.service.WriteHTTPError(w, r, err)
		}
		ended(err)
	}()
	caller, err := c.identify(1)
	if err != nil {
		return
	}
	made := &httpCall{call: &c}
	r.Body = http.MaxBytesReader(w, r.Body, maxManagementBytes)
	h.inner.ServeHTTP(w, r.WithContext(context.WithValue(WithCaller(r.Context(), caller), httpCallKey{}, made)))
	if err, answered = made.err, true; !made.readable {
		err, c.excess = errUnreadable, true
	}
}

// traceHTTP begins the trace of a call over HTTP, as gRPC itself does for its calls, and returns the
// function that ends it.
func (s *Service) traceHTTP(ctx context.Context, method string) (context.Context, func(error)) {
	traces := s.options.HTTPTraces
	if traces == nil {
		return ctx, func(error) {}
	}
	began := time.Now()
	ctx = traces.TagRPC(ctx, &stats.RPCTagInfo{FullMethodName: method})
	traces.HandleRPC(ctx, &stats.Begin{BeginTime: began})
	return ctx, func(err error) {
		traces.HandleRPC(ctx, &stats.End{BeginTime: began, EndTime: time.Now(), Error: err})
	}
}

// answerHTTP is the interceptor that package connect runs in each call over HTTP.
func (s *Service) answerHTTP(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		made := ctx.Value(httpCallKey{}).(*httpCall)
		made.readable = true
		made.received(request.Any())
		response, err := next(ctx, request)
		if err != nil {
			made.err = s.toStatus(ctx, err)
			return nil, toConnect(made.err)
		}
		return response, nil
	}
}

// WriteHTTPError writes an error as the Connect protocol does.
func (s *Service) WriteHTTPError(w http.ResponseWriter, r *http.Request, err error) {
	_ = errorWriter.Write(w, r, toConnect(s.toStatus(r.Context(), err))) // fails only if the client has gone
}

var errorWriter = connect.NewErrorWriter()

// toConnect converts a status error.
func toConnect(err error) *connect.Error {
	from := status.Convert(err)
	made := connect.NewError(connect.Code(from.Code()), errors.New(from.Message()))
	for _, detail := range from.Proto().GetDetails() {
		if converted, err := connect.NewErrorDetail(detail); err == nil {
			made.AddDetail(converted)
		}
		if info := new(errdetails.ErrorInfo); detail.UnmarshalTo(info) == nil {
			made.Meta().Set(reasonTrailer, info.GetReason())
		}
	}
	if from.Code() == codes.Unauthenticated {
		made.Meta().Set("WWW-Authenticate", "Bearer")
	}
	return made
}

// jsonCodec is connect's JSON codec, with three differences. It rejects unknown fields, because
// they are probably misspelled. Its errors do not quote the request, because requests contain
// secrets. Its encodings of equal messages are equal.
type jsonCodec struct{ name string }

// Name implements connect.Codec.
func (c jsonCodec) Name() string { return c.name }

// Marshal implements connect.Codec.
func (jsonCodec) Marshal(message any) ([]byte, error) {
	encoded, err := protojson.Marshal(message.(proto.Message)) // protojson puts spaces at random places
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	err = json.Compact(&compact, encoded)
	return compact.Bytes(), err
}

var position = regexp.MustCompile(`\(line \d+:\d+\)`)

// Unmarshal implements connect.Codec.
func (jsonCodec) Unmarshal(body []byte, message any) error {
	into := message.(proto.Message)
	if err := protojson.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the body is not a message %s in JSON %s", into.ProtoReflect().Descriptor().FullName(), position.FindString(err.Error()))
	}
	return nil
}
