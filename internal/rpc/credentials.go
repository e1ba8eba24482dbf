package rpc

import (
	"context"
	"path"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/management"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
)

// Credentials implements CredentialService, over gRPC and over HTTP. The context of each call must
// have a caller: see WithCaller.
type Credentials struct {
	authmaterialv1.UnimplementedCredentialServiceServer
	management *management.Service
}

// NewCredentials returns the CredentialService of a management.Service.
func NewCredentials(service *management.Service) *Credentials {
	return &Credentials{management: service}
}

// callerKey is the key of the caller in the context of a call.
type callerKey struct{}

// WithCaller returns a context for a call of this caller. caller.By must be set.
func WithCaller(ctx context.Context, caller broker.Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, managementCaller(caller))
}

func managementCaller(caller broker.Caller) management.Caller {
	return management.Caller{Caller: caller.Caller, Config: caller.By.Config}
}

func callerOf(ctx context.Context) management.Caller {
	return ctx.Value(callerKey{}).(management.Caller)
}

// registerCredentials registers CredentialService with a gRPC server.
func (s *Service) registerCredentials(server grpc.ServiceRegistrar, c *Credentials) {
	description := authmaterialv1.CredentialService_ServiceDesc
	watch := s.newMethod(authmaterialv1.CredentialService_WatchCredentialStates_FullMethodName, true)
	description.Streams = []grpc.StreamDesc{{
		StreamName:    path.Base(watch.name),
		ServerStreams: true,
		Handler:       func(_ any, stream grpc.ServerStream) error { return s.watchStates(watch, stream) },
	}}
	description.Methods = []grpc.MethodDesc{
		managing(s, authmaterialv1.CredentialService_CreateCredential_FullMethodName, c.CreateCredential),
		managing(s, authmaterialv1.CredentialService_GetCredential_FullMethodName, c.GetCredential),
		managing(s, authmaterialv1.CredentialService_ListCredentials_FullMethodName, c.ListCredentials),
		managing(s, authmaterialv1.CredentialService_UpdateCredential_FullMethodName, c.UpdateCredential),
		managing(s, authmaterialv1.CredentialService_DeleteCredential_FullMethodName, c.DeleteCredential),
		managing(s, authmaterialv1.CredentialService_UndeleteCredential_FullMethodName, c.UndeleteCredential),
		managing(s, authmaterialv1.CredentialService_CreateCredentialVersion_FullMethodName, c.CreateCredentialVersion),
		managing(s, authmaterialv1.CredentialService_ListCredentialVersions_FullMethodName, c.ListCredentialVersions),
		managing(s, authmaterialv1.CredentialService_ActivateCredentialVersion_FullMethodName, c.ActivateCredentialVersion),
		managing(s, authmaterialv1.CredentialService_WithdrawCanary_FullMethodName, c.WithdrawCanary),
		managing(s, authmaterialv1.CredentialService_DestroyCredentialVersion_FullMethodName, c.DestroyCredentialVersion),
		managing(s, authmaterialv1.CredentialService_VerifyCredential_FullMethodName, c.VerifyCredential),
		managing(s, authmaterialv1.CredentialService_GetCredentialStatus_FullMethodName, c.GetCredentialStatus),
		managing(s, authmaterialv1.CredentialService_ListCredentialEvents_FullMethodName, c.ListCredentialEvents),
		managing(s, authmaterialv1.CredentialService_ExplainAccess_FullMethodName, c.ExplainAccess),
		managing(s, authmaterialv1.CredentialService_GetFleetStatus_FullMethodName, c.GetFleetStatus),
	}
	server.RegisterService(&description, nil)
}

// CreateCredential implements CredentialService.
func (c *Credentials) CreateCredential(
	ctx context.Context, r *authmaterialv1.CreateCredentialRequest,
) (*authmaterialv1.CreateCredentialResponse, error) {
	given := r.GetCredential()
	created, err := c.management.Create(ctx, callerOf(ctx), management.NewCredential{
		ID: r.GetCredentialId(), DisplayName: given.GetDisplayName(), Description: given.GetDescription(), Labels: given.GetLabels(),
		Provider: given.GetProvider(), AuthMethod: given.GetAuthMethod(), Disabled: given.GetDisabled(), KeepWarm: given.GetKeepWarm(),
		SecretExpireTime: fromTimestamp(given.GetSecretExpireTime()), Values: fromValues(r.GetValues()), AllowedHosts: r.GetAllowedHosts(),
		RequestID: r.GetRequestId(), ValidateOnly: r.GetValidateOnly(),
	})
	return &authmaterialv1.CreateCredentialResponse{Credential: c.toCredential(created)}, err
}

// GetCredential implements CredentialService.
func (c *Credentials) GetCredential(
	ctx context.Context, r *authmaterialv1.GetCredentialRequest,
) (*authmaterialv1.GetCredentialResponse, error) {
	found, err := c.management.Get(ctx, callerOf(ctx), r.GetCredentialId())
	return &authmaterialv1.GetCredentialResponse{Credential: c.toCredential(found)}, err
}

// ListCredentials implements CredentialService.
func (c *Credentials) ListCredentials(
	ctx context.Context, r *authmaterialv1.ListCredentialsRequest,
) (*authmaterialv1.ListCredentialsResponse, error) {
	page, next, err := c.management.List(ctx, callerOf(ctx), management.Selection{
		PageSize: int(r.GetPageSize()), PageToken: r.GetPageToken(), Filter: r.GetFilter(), ShowDeleted: r.GetShowDeleted(), ShowLastUse: r.GetShowLastUse(),
	})
	response := &authmaterialv1.ListCredentialsResponse{NextPageToken: next}
	for _, found := range page {
		response.Credentials = append(response.Credentials, c.toCredential(found))
	}
	return response, err
}

// UpdateCredential implements CredentialService.
func (c *Credentials) UpdateCredential(
	ctx context.Context, r *authmaterialv1.UpdateCredentialRequest,
) (*authmaterialv1.UpdateCredentialResponse, error) {
	given := r.GetCredential()
	changed, err := c.management.Update(ctx, callerOf(ctx), given.GetCredentialId(), r.GetEtag(), management.Update{
		DisplayName: given.GetDisplayName(), Description: given.GetDescription(), Labels: given.GetLabels(), Disabled: given.GetDisabled(),
		KeepWarm: given.GetKeepWarm(), SecretExpireTime: fromTimestamp(given.GetSecretExpireTime()), Mask: r.GetUpdateMask().GetPaths(),
	})
	return &authmaterialv1.UpdateCredentialResponse{Credential: c.toCredential(changed)}, err
}

// DeleteCredential implements CredentialService.
func (c *Credentials) DeleteCredential(
	ctx context.Context, r *authmaterialv1.DeleteCredentialRequest,
) (*authmaterialv1.DeleteCredentialResponse, error) {
	deleted, err := c.management.Delete(ctx, callerOf(ctx), r.GetCredentialId(), r.GetEtag())
	return &authmaterialv1.DeleteCredentialResponse{Credential: c.toCredential(deleted)}, err
}

// UndeleteCredential implements CredentialService.
func (c *Credentials) UndeleteCredential(
	ctx context.Context, r *authmaterialv1.UndeleteCredentialRequest,
) (*authmaterialv1.UndeleteCredentialResponse, error) {
	restored, err := c.management.Undelete(ctx, callerOf(ctx), r.GetCredentialId())
	return &authmaterialv1.UndeleteCredentialResponse{Credential: c.toCredential(restored)}, err
}

// CreateCredentialVersion implements CredentialService.
func (c *Credentials) CreateCredentialVersion(
	ctx context.Context, r *authmaterialv1.CreateCredentialVersionRequest,
) (*authmaterialv1.CreateCredentialVersionResponse, error) {
	created, changed, err := c.management.CreateVersion(ctx, callerOf(ctx), r.GetCredentialId(), management.NewVersion{
		ETag: r.GetEtag(), Values: fromValues(r.GetValues()), AllowedHosts: r.GetAllowedHosts(), Reset: r.GetReset_(),
		Verify: r.GetVerify(), AcceptInconclusive: r.GetAcceptInconclusive(), Activate: r.GetActivate(), RequestID: r.GetRequestId(),
	})
	return &authmaterialv1.CreateCredentialVersionResponse{Version: toVersion(created), Credential: c.toCredential(changed)}, err
}

// ListCredentialVersions implements CredentialService.
func (c *Credentials) ListCredentialVersions(
	ctx context.Context, r *authmaterialv1.ListCredentialVersionsRequest,
) (*authmaterialv1.ListCredentialVersionsResponse, error) {
	all, err := c.management.Versions(ctx, callerOf(ctx), r.GetCredentialId())
	response := &authmaterialv1.ListCredentialVersionsResponse{}
	for _, version := range all {
		response.Versions = append(response.Versions, toVersion(version))
	}
	return response, err
}

// ActivateCredentialVersion implements CredentialService.
func (c *Credentials) ActivateCredentialVersion(
	ctx context.Context, r *authmaterialv1.ActivateCredentialVersionRequest,
) (*authmaterialv1.ActivateCredentialVersionResponse, error) {
	changed, warning, err := c.management.Activate(ctx, callerOf(ctx), r.GetCredentialId(), r.GetEtag(), int(r.GetVersion()), r.GetCallers())
	return &authmaterialv1.ActivateCredentialVersionResponse{Credential: c.toCredential(changed), Warning: warning}, err
}

// WithdrawCanary implements CredentialService.
func (c *Credentials) WithdrawCanary(
	ctx context.Context, r *authmaterialv1.WithdrawCanaryRequest,
) (*authmaterialv1.WithdrawCanaryResponse, error) {
	changed, err := c.management.WithdrawCanary(ctx, callerOf(ctx), r.GetCredentialId(), r.GetEtag())
	return &authmaterialv1.WithdrawCanaryResponse{Credential: c.toCredential(changed)}, err
}

// DestroyCredentialVersion implements CredentialService.
func (c *Credentials) DestroyCredentialVersion(
	ctx context.Context, r *authmaterialv1.DestroyCredentialVersionRequest,
) (*authmaterialv1.DestroyCredentialVersionResponse, error) {
	destroyed, changed, err := c.management.DestroyVersion(ctx, callerOf(ctx), r.GetCredentialId(), r.GetEtag(), int(r.GetVersion()))
	return &authmaterialv1.DestroyCredentialVersionResponse{Version: toVersion(destroyed), Credential: c.toCredential(changed)}, err
}

// VerifyCredential implements CredentialService.
func (c *Credentials) VerifyCredential(
	ctx context.Context, r *authmaterialv1.VerifyCredentialRequest,
) (*authmaterialv1.VerifyCredentialResponse, error) {
	var unsaved *management.Unsaved
	if r.GetProvider() != "" || r.GetAuthMethod() != "" || len(r.GetValues()) > 0 || len(r.GetAllowedHosts()) > 0 {
		unsaved = &management.Unsaved{
			Provider: r.GetProvider(), AuthMethod: r.GetAuthMethod(), Values: fromValues(r.GetValues()), AllowedHosts: r.GetAllowedHosts(),
		}
	}
	result, err := c.management.Verify(ctx, callerOf(ctx), r.GetCredentialId(), int(r.GetVersion()), unsaved, r.GetAllowTokenReplacement())
	return &authmaterialv1.VerifyCredentialResponse{Verification: toVerification(result)}, err
}

// ListCredentialEvents implements CredentialService.
func (c *Credentials) ListCredentialEvents(
	ctx context.Context, r *authmaterialv1.ListCredentialEventsRequest,
) (*authmaterialv1.ListCredentialEventsResponse, error) {
	events, next, err := c.management.Events(ctx, callerOf(ctx), r.GetCredentialId(), int(r.GetPageSize()), r.GetPageToken())
	response := &authmaterialv1.ListCredentialEventsResponse{NextPageToken: next}
	for _, event := range events {
		response.Events = append(response.Events, &authmaterialv1.CredentialEvent{
			Time: toTimestamp(event.Time), Caller: event.Caller, Operation: event.Operation, Version: int32(event.Version), //nolint:gosec // a version number is at most a few thousand
			Fields: event.Fields, Outcome: toOutcome(event.Outcome),
		})
	}
	return response, err
}

// ExplainAccess implements CredentialService.
func (c *Credentials) ExplainAccess(
	ctx context.Context, r *authmaterialv1.ExplainAccessRequest,
) (*authmaterialv1.ExplainAccessResponse, error) {
	explained, err := c.management.ExplainAccess(ctx, callerOf(ctx), r.GetCredentialId(), r.GetCaller())
	if err != nil {
		return nil, err
	}
	response := &authmaterialv1.ExplainAccessResponse{Grants: explained.Grants, Explanation: explained.Text}
	for _, action := range explained.Allowed {
		response.AllowedActions = append(response.AllowedActions, string(action))
	}
	return response, nil
}

func fromValues(given []*authmaterialv1.FieldValue) []management.FieldValue {
	var values []management.FieldValue
	for _, value := range given {
		values = append(values, management.FieldValue{Field: value.GetField(), Value: secret.New(value.GetValue())})
	}
	return values
}

func fromTimestamp(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func toTimestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// toCredential returns nil if there is no credential, because the call failed.
func (c *Credentials) toCredential(v *management.Credential) *authmaterialv1.Credential {
	if v == nil {
		return nil
	}
	state, since := c.management.State(v)
	message := &authmaterialv1.Credential{
		CredentialId: v.ID, DisplayName: v.DisplayName, Description: v.Description, Labels: v.Labels,
		Provider: v.Provider, AuthMethod: v.AuthMethod, Disabled: v.Disabled, KeepWarm: v.KeepWarm,
		SecretExpireTime: toTimestamp(v.SecretExpireTime), Origin: authmaterialv1.CredentialOrigin_CREDENTIAL_ORIGIN_MANAGED,
		ActiveVersion: int32(v.ActiveVersion), PublicValues: v.PublicValues, SecretFieldsSet: v.SecretFields, //nolint:gosec // a version number is at most a few thousand
		State: toState(state), StateTime: toTimestamp(since),
		AllowedHosts: v.AllowedHosts, CreateTime: toTimestamp(v.CreateTime), UpdateTime: toTimestamp(v.UpdateTime),
		DeleteTime: toTimestamp(v.DeleteTime), Etag: v.ETag, Shadowed: v.Shadowed,
		ActivateTime: toTimestamp(v.ActivateTime), LastUseTime: toTimestamp(v.LastUse),
	}
	if v.Declared {
		message.Origin = authmaterialv1.CredentialOrigin_CREDENTIAL_ORIGIN_DECLARED
	}
	if v.CanaryVersion != 0 {
		message.Canary = &authmaterialv1.Canary{Version: int32(v.CanaryVersion), Callers: v.CanaryCallers} //nolint:gosec // a version number is at most a few thousand
	}
	return message
}

func toVersion(v *management.Version) *authmaterialv1.CredentialVersion {
	if v == nil {
		return nil
	}
	state := authmaterialv1.VersionState_value["VERSION_STATE_"+string(v.State)]
	return &authmaterialv1.CredentialVersion{
		Version: int32(v.Number), State: authmaterialv1.VersionState(state), PublicValues: v.PublicValues, //nolint:gosec // a version number is at most a few thousand
		SecretFieldsSet: v.SecretFields, AllowedHosts: v.AllowedHosts, CreateTime: toTimestamp(v.CreateTime), Creator: v.Creator,
		ActivateTime: toTimestamp(v.ActivateTime), DestroyTime: toTimestamp(v.DestroyTime), Verification: toVerification(v.Verification),
	}
}

func toVerification(v *store.Verification) *authmaterialv1.Verification {
	if v == nil {
		return nil
	}
	return &authmaterialv1.Verification{
		Outcome: toOutcome(v.Outcome), Explanation: v.Explanation, HttpStatus: int32(v.HTTPStatus), VerifyTime: toTimestamp(v.Time), //nolint:gosec // an HTTP status
	}
}

func toOutcome(outcome string) authmaterialv1.VerificationOutcome {
	return authmaterialv1.VerificationOutcome(authmaterialv1.VerificationOutcome_value["VERIFICATION_OUTCOME_"+outcome])
}
