// Package rpc serves the broker over gRPC. Each call of the broker's service is handled by one
// function, which receives the message, identifies the caller, counts the call, asks the broker,
// and returns the encoded answer. The package also maps every error of the broker to a gRPC
// status.
package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jonboulle/clockwork"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/stats"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/fault"
)

// Options configure a Service. Every option except HTTPTraces is required.
type Options struct {
	// Broker answers the calls. Each Generation of the Broker must have Callers, and
	// broker.Options.Encode must be the function Encode of this package.
	Broker    *broker.Broker
	Admission *admission.Admission
	// Credentials answers the calls of CredentialService.
	Credentials *Credentials
	// SignInLink returns a link that signs in to the console as the caller with this evidence, and
	// the time until which the link can be used. It is nil if there is no console.
	SignInLink func(context.Context, authentication.Evidence) (link string, expires time.Time, err error)
	// Proxies are the proxies that the Service serves.
	Proxies Proxies
	// Clock determines when identities expire, and Waiting determines when watches end.
	Clock, Waiting clockwork.Clock
	// Logger logs the broker's internal errors.
	Logger *slog.Logger
	// Metrics returns the metrics of the method with this full name.
	Metrics func(method string, stream bool) *MethodMetrics
	// Ended is called after each failed call and, if LogsAll is true, after each successful call.
	Ended   func(ctx context.Context, ended Ended)
	LogsAll bool
	// MessageBytes is the limit for messages of the server on which the Service is registered.
	MessageBytes int
	// HTTPTraces traces the calls over HTTP. If it is nil, these calls are not traced.
	HTTPTraces stats.Handler
	// Reached is called for each call whose message or headers are too large.
	Reached func(limit admission.Limit)
}

// Service implements the gRPC service authmaterial.v1.BrokerService.
type Service struct {
	options   Options
	everybody *admission.Caller         // counter of the calls by callers that have no limits of their own
	wall      func(time.Time) time.Time // function that converts times of the option Clock into wall-clock times
	faults    rate.Sometimes            // limit of log lines about internal errors
	others    sync.Map                  // map from the full names of other services' methods to values of type *method
}

// The comments in the proto files state the same limits of requests.
const (
	maxIDs         = 100
	maxIDSize      = 128 // characters
	maxVersionSize = 64
	maxVersionUses = 100
)

// faultBurst is the number of internal errors that are logged at once; further errors are logged
// once a second, because callers can cause internal errors, for example while audit records
// cannot be written.
const faultBurst = 100

// NewService returns a Service.
func NewService(options Options) *Service {
	return &Service{
		options:   options,
		everybody: options.Admission.Everybody(),
		wall:      clock.WallOf(options.Clock),
		faults:    rate.Sometimes{First: faultBurst, Interval: time.Second},
	}
}

// Register registers the broker's services with a server that uses the codec from NewCodec. The service's
// unary methods do not run interceptors.
func (s *Service) Register(server grpc.ServiceRegistrar) {
	description := authmaterialv1.BrokerService_ServiceDesc
	description.Methods = []grpc.MethodDesc{
		unary(s, authmaterialv1.BrokerService_GetAuthDecoration_FullMethodName, s.get),
		unary(s, authmaterialv1.BrokerService_BatchGetAuthDecorations_FullMethodName, s.batch),
		unary(s, authmaterialv1.BrokerService_ReportRejection_FullMethodName, s.report),
		unary(s, authmaterialv1.BrokerService_ReportUsage_FullMethodName, s.usage),
	}
	watch := s.newMethod(authmaterialv1.BrokerService_WatchAuthDecorations_FullMethodName, true)
	description.Streams = []grpc.StreamDesc{{
		StreamName:    path.Base(watch.name),
		ServerStreams: true,
		Handler:       func(_ any, stream grpc.ServerStream) error { return s.watch(watch, stream) },
	}}
	server.RegisterService(&description, nil)
	s.registerCredentials(server, s.options.Credentials)
	s.registerProviders(server, new(Providers))
	if s.options.SignInLink != nil {
		s.registerConsole(server)
	}
	if s.options.Proxies.Envoy {
		s.registerSecrets(server)
		s.registerCheck(server)
	}
}

// unary returns a unary method whose handler does the work that is common to all calls. The
// function `respond` returns an *answer or a message.
func unary[Request any](
	s *Service, name string, respond func(*call, broker.Caller, *Request) (any, error),
) grpc.MethodDesc {
	m := s.newMethod(name, false)
	handle := func(
		_ any, ctx context.Context, receive func(any) error, _ grpc.UnaryServerInterceptor,
	) (response any, err error) {
		one := struct { // this struct saves an allocation: it contains both the call and its request
			call
			request Request
		}{call: s.begin(ctx, m)}
		defer func() { err = one.end(err, recover()) }()
		caller, err := one.receive(receive, &one.request)
		if err != nil {
			return nil, err
		}
		return respond(&one.call, caller, &one.request)
	}
	return grpc.MethodDesc{MethodName: path.Base(name), Handler: handle}
}

func (s *Service) get(c *call, caller broker.Caller, request *authmaterialv1.GetAuthDecorationRequest) (any, error) {
	decoration, err := s.options.Broker.Get(c.ctx, caller, request.GetCredentialId())
	if err != nil {
		return nil, err
	}
	return &answer{bytes: decoration.Encoded}, nil
}

// batch answers BatchGetAuthDecorations. The answer counts for the caller's limit of concurrent
// batches until gRPC has sent it.
func (s *Service) batch(
	c *call, caller broker.Caller, request *authmaterialv1.BatchGetAuthDecorationsRequest,
) (made any, err error) {
	ids := request.GetCredentialIds()
	if err := checkIDs(ids); err != nil {
		return nil, err
	}
	if !c.limits.BeginBatch() {
		return nil, c.refuse(&admission.Refusal{Limit: admission.BatchesPerCaller})
	}
	sent := sync.OnceFunc(c.limits.EndBatch)
	defer func() {
		if made == nil {
			sent()
		}
	}()
	// gRPC does not release the buffer of an answer that it compresses.
	if err := grpc.SetSendCompressor(c.ctx, encoding.Identity); err != nil {
		return nil, fmt.Errorf("turn off compression for a batch: %w", err)
	}
	results := s.options.Broker.GetBatch(c.ctx, caller, ids)
	items := make([]item, len(results))
	for i, result := range results {
		items[i] = s.toItem(c.ctx, result)
	}
	return newBatchAnswer(items, sent), nil
}

func (s *Service) report(c *call, caller broker.Caller, request *authmaterialv1.ReportRejectionRequest) (any, error) {
	if err := checkReport(request); err != nil {
		return nil, err
	}
	decoration, outcome, err := s.options.Broker.ReportRejection(c.ctx, caller,
		request.GetCredentialId(), request.GetVersion(), int(request.GetHttpStatus()))
	if err != nil {
		return nil, err
	}
	value := authmaterialv1.ReportRejectionResponse_Outcome_value["OUTCOME_"+string(outcome)]
	return &authmaterialv1.ReportRejectionResponse{
		AuthDecoration: toProto(decoration),
		Outcome:        authmaterialv1.ReportRejectionResponse_Outcome(value),
	}, nil
}

func (s *Service) usage(_ *call, caller broker.Caller, request *authmaterialv1.ReportUsageRequest) (any, error) {
	if err := checkUsage(request.GetUses()); err != nil {
		return nil, err
	}
	uses := make([]broker.VersionUse, len(request.GetUses()))
	for i, use := range request.GetUses() {
		uses[i] = broker.VersionUse{CredentialID: use.GetCredentialId(), Version: use.GetVersion()}
	}
	s.options.Broker.ReportUsage(caller, uses)
	return new(authmaterialv1.ReportUsageResponse), nil
}

// checkIDs checks only the number of IDs in a batch or a watch: an invalid ID causes an error for
// that ID alone.
func checkIDs(ids []string) error {
	if n := len(ids); n == 0 || n > maxIDs {
		return invalid(fault.Violation{
			Field:       "credential_ids",
			Description: fmt.Sprintf("must have 1 to %d IDs, and has %d", maxIDs, n),
		})
	}
	return nil
}

func checkReport(request *authmaterialv1.ReportRejectionRequest) error {
	var violations []fault.Violation
	violations = checkVersion(violations, "version", request.GetVersion())
	if status := request.GetHttpStatus(); status < 100 || status > 599 {
		violations = append(violations, fault.Violation{
			Field:       "http_status",
			Description: fmt.Sprintf("must be the HTTP status of the provider's answer, 100 to 599, and is %d", status),
		})
	}
	if violations != nil {
		return invalid(violations...)
	}
	return nil
}

func checkUsage(uses []*authmaterialv1.VersionUse) error {
	if n := len(uses); n == 0 || n > maxVersionUses {
		return invalid(fault.Violation{
			Field:       "uses",
			Description: fmt.Sprintf("must have 1 to %d uses, and has %d", maxVersionUses, n),
		})
	}
	var violations []fault.Violation
	for i, use := range uses {
		if id := use.GetCredentialId(); id == "" || utf8.RuneCountInString(id) > maxIDSize {
			violations = append(violations, fault.Violation{
				Field:       fmt.Sprintf("uses[%d].credential_id", i),
				Description: fmt.Sprintf("must have 1 to %d characters", maxIDSize),
			})
		}
		violations = checkVersion(violations, fmt.Sprintf("uses[%d].version", i), use.GetVersion())
	}
	if violations != nil {
		return invalid(violations[:min(len(violations), maxViolations)]...)
	}
	return nil
}

// checkVersion adds a violation if the version of a decoration is invalid.
func checkVersion(violations []fault.Violation, field, version string) []fault.Violation {
	if version == "" || len(version) > maxVersionSize || strings.ContainsFunc(version, invisible) {
		return append(violations, fault.Violation{
			Field:       field,
			Description: fmt.Sprintf("must be 1 to %d visible ASCII characters, as the version in the decoration", maxVersionSize),
		})
	}
	return violations
}

func invisible(r rune) bool { return r <= ' ' || r > '~' }

func invalid(violations ...fault.Violation) error {
	var fields []string
	for _, violation := range violations {
		fields = append(fields, violation.Field+" "+violation.Description)
	}
	return &fault.Error{Reason: fault.InvalidRequest, Message: strings.Join(fields, "; "), Violations: violations}
}

// Shorten returns the first 128 characters of an ID. No valid ID is longer than 128 characters.
func Shorten(id string) string {
	if utf8.RuneCountInString(id) <= maxIDSize {
		return id
	}
	return string([]rune(id)[:maxIDSize])
}
