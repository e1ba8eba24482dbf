// Package rpc serves the broker over gRPC. It checks requests, turns decorations into
// protobuf and errors into statuses.
package rpc

import (
	"context"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/jonboulle/clockwork"
	"golang.org/x/time/rate"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/broker"
)

// Broker is what the service needs of the use case.
type Broker interface {
	Get(ctx context.Context, caller access.Caller, id string) (*broker.Decoration, error)
	GetBatch(ctx context.Context, caller access.Caller, ids []string) []broker.Result
	ReportRejection(ctx context.Context, caller access.Caller, id, version string, status int) (*broker.Decoration, broker.Outcome, error)
	Watch(caller access.Caller, ids []string) *broker.Watch
}

// Service is authmaterial.v1.BrokerService.
type Service struct {
	authmaterialv1.UnimplementedBrokerServiceServer
	broker Broker
	clock  clockwork.Clock
	logger *slog.Logger
	faults rate.Sometimes // for the log
}

// faultBurst is how many faults of the broker's own the log tells of at once; then of one a
// second. Callers can cause them while the audit cannot be written, say.
const faultBurst = 100

// NewService returns a Service. The clock decides when watches end.
func NewService(broker Broker, clock clockwork.Clock, logger *slog.Logger) *Service {
	return &Service{broker: broker, clock: clock, logger: logger, faults: rate.Sometimes{First: faultBurst, Interval: time.Second}}
}

// GetAuthDecoration returns the material of one credential.
func (s *Service) GetAuthDecoration(ctx context.Context, request *authmaterialv1.GetAuthDecorationRequest) (*authmaterialv1.GetAuthDecorationResponse, error) {
	decoration, err := s.broker.Get(ctx, CallerOf(ctx), request.GetCredentialId())
	if err != nil {
		return nil, s.toStatus(ctx, err)
	}
	return &authmaterialv1.GetAuthDecorationResponse{AuthDecoration: toProto(decoration)}, nil
}

// BatchGetAuthDecorations returns the material of several.
func (s *Service) BatchGetAuthDecorations(ctx context.Context, request *authmaterialv1.BatchGetAuthDecorationsRequest) (*authmaterialv1.BatchGetAuthDecorationsResponse, error) {
	if err := checkIDs(request.GetCredentialIds()); err != nil {
		return nil, s.toStatus(ctx, err)
	}
	results := s.broker.GetBatch(ctx, CallerOf(ctx), request.GetCredentialIds())
	response := &authmaterialv1.BatchGetAuthDecorationsResponse{Results: make([]*authmaterialv1.AuthDecorationResult, len(results))}
	for i, result := range results {
		item := &authmaterialv1.AuthDecorationResult{CredentialId: Shorten(result.CredentialID)}
		if result.Err != nil {
			item.Result = &authmaterialv1.AuthDecorationResult_Error{Error: s.toItem(ctx, result.Err)}
		} else {
			item.Result = &authmaterialv1.AuthDecorationResult_AuthDecoration{AuthDecoration: toProto(result.Decoration)}
		}
		response.Results[i] = item
	}
	return response, nil
}

// outcomes are the broker's in the proto.
var outcomes = map[broker.Outcome]authmaterialv1.ReportRejectionResponse_Outcome{
	broker.AlreadyReplaced: authmaterialv1.ReportRejectionResponse_OUTCOME_ALREADY_REPLACED,
	broker.Replaced:        authmaterialv1.ReportRejectionResponse_OUTCOME_REPLACED,
	broker.NotReplaceable:  authmaterialv1.ReportRejectionResponse_OUTCOME_NOT_REPLACEABLE,
}

// ReportRejection replaces material that a provider rejected.
func (s *Service) ReportRejection(ctx context.Context, request *authmaterialv1.ReportRejectionRequest) (*authmaterialv1.ReportRejectionResponse, error) {
	if err := checkReport(request); err != nil {
		return nil, s.toStatus(ctx, err)
	}
	decoration, outcome, err := s.broker.ReportRejection(ctx, CallerOf(ctx),
		request.GetCredentialId(), request.GetVersion(), int(request.GetHttpStatus()))
	if err != nil {
		return nil, s.toStatus(ctx, err)
	}
	return &authmaterialv1.ReportRejectionResponse{AuthDecoration: toProto(decoration), Outcome: outcomes[outcome]}, nil
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
