// Package rpc serves the broker over gRPC. For each method there is one function that does all of
// a call: it receives the message, identifies the caller, counts the call, asks the broker, and
// encodes the answer.
package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jonboulle/clockwork"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/clock"
)

// Broker is what the service needs of the use case.
type Broker interface {
	Current() *broker.Generation
	Get(ctx context.Context, caller broker.Caller, id string) (*broker.Decoration, error)
	GetBatch(ctx context.Context, caller broker.Caller, ids []string) []broker.Result
	ReportRejection(ctx context.Context, caller broker.Caller, id, version string, status int) (*broker.Decoration, broker.Outcome, error)
	Watch(caller broker.Caller, again func(context.Context, *broker.Generation) (access.Caller, error), ids []string) *broker.Watch
}

// Options configure a Service. All are required.
type Options struct {
	// Broker answers. Its Generations have Callers, and its Decorations are encoded by Encode.
	Broker Broker
	// Admission limits callers.
	Admission *admission.Admission
	// Clock is the time by which identities expire, and Waiting the one by which watches end.
	Clock, Waiting clockwork.Clock
	// Logger gets faults of the broker's own.
	Logger *slog.Logger
	// Metrics returns the metrics of a method by its full name.
	Metrics func(method string, stream bool) *MethodMetrics
	// Ended is told of each call that has failed, and with LogsAll of all.
	Ended   func(ctx context.Context, ended Ended)
	LogsAll bool
	// Reached is told of each message and of headers that are too large.
	Reached func(limit admission.Limit)
}

// Service is authmaterial.v1.BrokerService.
type Service struct {
	authmaterialv1.UnimplementedBrokerServiceServer
	broker    Broker
	admission *admission.Admission
	everybody *admission.Caller // where callers are not told apart
	clock     clockwork.Clock
	wall      func(time.Time) time.Time // converts times of clock into those of the wall clock
	waiting   clockwork.Clock
	logger    *slog.Logger
	faults    rate.Sometimes // for the log
	newMethod func(name string, stream bool) *method
	others    sync.Map // of full name to *method, of other services
	ended     func(context.Context, Ended)
	logsAll   bool
	reached   func(admission.Limit)
}

// faultBurst is how many faults of the broker's own the log tells of at once; then of one a
// second. Callers can cause them while the audit cannot be written, say.
const faultBurst = 100

// NewService returns a Service.
func NewService(options Options) *Service {
	return &Service{
		broker:    options.Broker,
		admission: options.Admission,
		everybody: options.Admission.Everybody(),
		clock:     options.Clock,
		wall:      clock.WallOf(options.Clock),
		waiting:   options.Waiting,
		logger:    options.Logger,
		faults:    rate.Sometimes{First: faultBurst, Interval: time.Second},
		newMethod: func(name string, stream bool) *method {
			return &method{name: name, stream: stream, metrics: options.Metrics(name, stream)}
		},
		ended:   options.Ended,
		logsAll: options.LogsAll,
		reached: options.Reached,
	}
}

// Register registers the service with a server whose codec is that of NewCodec. Its unary methods
// pass no interceptor.
func (s *Service) Register(server grpc.ServiceRegistrar) {
	description := authmaterialv1.BrokerService_ServiceDesc
	unary := map[string]func(*method) handler{
		"GetAuthDecoration":       func(m *method) handler { return handler{m, s.get} },
		"BatchGetAuthDecorations": func(m *method) handler { return handler{m, s.batch} },
		"ReportRejection":         func(m *method) handler { return handler{m, s.report} },
	}
	description.Methods = nil
	for _, of := range authmaterialv1.BrokerService_ServiceDesc.Methods {
		handle := unary[of.MethodName](s.newMethod("/"+description.ServiceName+"/"+of.MethodName, false))
		description.Methods = append(description.Methods, grpc.MethodDesc{MethodName: of.MethodName, Handler: handle.call})
	}
	watch := s.newMethod(authmaterialv1.BrokerService_WatchAuthDecorations_FullMethodName, true)
	description.Streams = []grpc.StreamDesc{{
		StreamName: "WatchAuthDecorations", ServerStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error { return s.watch(watch, stream) },
	}}
	server.RegisterService(&description, s)
}

// handler handles the calls of a unary method.
type handler struct {
	method *method
	handle func(context.Context, *method, func(any) error) (*answer, error)
}

// call is the Handler of a grpc.MethodDesc.
func (h handler) call(_ any, ctx context.Context, receive func(any) error, _ grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // gRPC has the context second
	encoded, err := h.handle(ctx, h.method, receive)
	if err != nil {
		return nil, err
	}
	return encoded, nil
}

// get returns the material of one credential.
func (s *Service) get(ctx context.Context, m *method, receive func(any) error) (encoded *answer, err error) {
	c := s.begin(ctx, m)
	defer func() { err = c.end(err, recover()) }()
	var request authmaterialv1.GetAuthDecorationRequest
	who, _, err := c.receive(receive, &request)
	if err != nil {
		return nil, err
	}
	decoration, err := s.broker.Get(ctx, who, request.GetCredentialId())
	if err != nil {
		return nil, err
	}
	return &answer{bytes: decoration.Encoded}, nil
}

// batch returns the material of several.
func (s *Service) batch(ctx context.Context, m *method, receive func(any) error) (encoded *answer, err error) {
	c := s.begin(ctx, m)
	defer func() { err = c.end(err, recover()) }()
	var request authmaterialv1.BatchGetAuthDecorationsRequest
	who, limits, err := c.receive(receive, &request)
	if err != nil {
		return nil, err
	}
	ids := request.GetCredentialIds()
	if err := checkIDs(ids); err != nil {
		return nil, err
	}
	if !limits.BeginBatch() {
		return nil, c.over(&admission.Refusal{Limit: admission.BatchesPerCaller})
	}
	sent := sync.OnceFunc(limits.EndBatch)
	defer func() {
		if encoded == nil {
			sent()
		}
	}()
	// gRPC forgets the buffer of an answer that it compresses.
	if err := grpc.SetSendCompressor(ctx, encoding.Identity); err != nil {
		return nil, fmt.Errorf("send a batch as it is: %w", err)
	}
	results := s.broker.GetBatch(ctx, who, ids)
	states := make([]state, len(results))
	for i, result := range results {
		states[i] = s.toState(ctx, result)
	}
	return newBatchAnswer(states, sent), nil
}

// outcomes are the broker's in the proto.
var outcomes = map[broker.Outcome]authmaterialv1.ReportRejectionResponse_Outcome{
	broker.AlreadyReplaced: authmaterialv1.ReportRejectionResponse_OUTCOME_ALREADY_REPLACED,
	broker.Replaced:        authmaterialv1.ReportRejectionResponse_OUTCOME_REPLACED,
	broker.NotReplaceable:  authmaterialv1.ReportRejectionResponse_OUTCOME_NOT_REPLACEABLE,
}

// report replaces material that a provider rejected.
func (s *Service) report(ctx context.Context, m *method, receive func(any) error) (encoded *answer, err error) {
	c := s.begin(ctx, m)
	defer func() { err = c.end(err, recover()) }()
	var request authmaterialv1.ReportRejectionRequest
	who, _, err := c.receive(receive, &request)
	if err != nil {
		return nil, err
	}
	if err := checkReport(&request); err != nil {
		return nil, err
	}
	decoration, outcome, err := s.broker.ReportRejection(ctx, who,
		request.GetCredentialId(), request.GetVersion(), int(request.GetHttpStatus()))
	if err != nil {
		return nil, err
	}
	return &answer{bytes: encodeReport(decoration, outcomes[outcome])}, nil
}

// maxIDSize is the longest ID that is sent back, in characters. A valid one is no
// longer.
const maxIDSize = 128

// Shorten cuts an ID that cannot be one, for where it is shown.
func Shorten(id string) string {
	if utf8.RuneCountInString(id) <= maxIDSize {
		return id
	}
	return string([]rune(id)[:maxIDSize])
}
