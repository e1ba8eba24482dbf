package rpc

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/management"
)

// GetCredentialStatus implements CredentialService.
func (c *Credentials) GetCredentialStatus(
	ctx context.Context, r *authmaterialv1.GetCredentialStatusRequest,
) (*authmaterialv1.GetCredentialStatusResponse, error) {
	found, status, err := c.management.Status(ctx, callerOf(ctx), r.GetCredentialId())
	if err != nil {
		return nil, err
	}
	message := &authmaterialv1.CredentialStatus{
		State: toState(status.State), Explanation: status.Explanation, Since: toTimestamp(status.Collected),
		Active: toMaterialStatus(&status.Active), ActivateTime: toTimestamp(status.ActivateTime),
		Verification: toVerification(status.Verification), TokenRequestsToday: status.RequestsToday,
	}
	for _, use := range status.Callers {
		message.Callers = append(message.Callers, &authmaterialv1.CallerUse{
			Caller: use.Caller, LastUseTime: toTimestamp(use.LastUse), Count: use.Count, Version: int32(use.Version), //nolint:gosec // a version number is at most a few thousand
		})
	}
	message.VersionsInUse = toVersionsInUse(&status.Usage)
	if status.Canary != nil {
		message.Canary = toMaterialStatus(status.Canary)
	}
	return &authmaterialv1.GetCredentialStatusResponse{Credential: c.toCredential(found), Status: message}, nil
}

func toVersionsInUse(u *broker.Usage) *authmaterialv1.VersionsInUse {
	message := &authmaterialv1.VersionsInUse{
		CallersWithoutReports: u.Silent, TotalWithoutReports: int32(u.SilentCount), //nolint:gosec // the broker remembers few callers
		Truncated: u.Truncated, WholeFleet: u.Shared,
	}
	for i := range u.Versions {
		of := &u.Versions[i]
		version := &authmaterialv1.VersionInUse{
			Version: of.Version, CredentialVersion: int32(of.Number), Current: of.Current, //nolint:gosec // a version number is at most a few thousand
			CallersSent: int32(of.CallersSent), FirstSentTime: toTimestamp(of.FirstSent), LastSentTime: toTimestamp(of.LastSent), //nolint:gosec // the broker remembers few callers
			CallersUsed: int32(of.CallersUsed), FirstUseTime: toTimestamp(of.FirstUse), LastUseTime: toTimestamp(of.LastUse), //nolint:gosec // the broker remembers few callers
		}
		for _, c := range of.Callers {
			version.Callers = append(version.Callers, &authmaterialv1.VersionCaller{
				Caller: c.Caller, LastSentTime: toTimestamp(c.LastSent), LastUseTime: toTimestamp(c.LastUse),
			})
		}
		message.Versions = append(message.Versions, version)
	}
	return message
}

// GetFleetStatus implements CredentialService.
func (c *Credentials) GetFleetStatus(
	ctx context.Context, _ *authmaterialv1.GetFleetStatusRequest,
) (*authmaterialv1.GetFleetStatusResponse, error) {
	status, err := c.management.FleetStatus(ctx, callerOf(ctx))
	if err != nil {
		return nil, err
	}
	response := &authmaterialv1.GetFleetStatusResponse{
		BrokerVersion: status.Version, StartTime: toTimestamp(status.StartTime), ConfigurationTime: toTimestamp(status.ConfigurationTime),
		ConfigurationProblems: status.Problems, TokenCache: toDependency(status.TokenCache), Store: toDependency(status.Store),
		CredentialsByState: map[string]int64{}, ShadowedCredentials: status.Shadowed,
		MoreReplicas: status.MoreMembers,
	}
	for i := range status.Members {
		response.Replicas = append(response.Replicas, toReplica(&status.Members[i]))
	}
	for state, count := range status.States {
		response.CredentialsByState[string(state)] = int64(count)
	}
	for _, provider := range slices.Sorted(maps.Keys(status.TokenRequests)) {
		of := status.TokenRequests[provider]
		response.TokenRequests = append(response.TokenRequests, &authmaterialv1.ProviderRequests{Provider: provider, Requests: of.Sent, Failures: of.Failed})
	}
	return response, nil
}

func toReplica(m *management.Member) *authmaterialv1.Replica {
	return &authmaterialv1.Replica{
		Name: m.Name, BrokerVersion: m.Version, StartTime: toTimestamp(m.StartTime), ConfigurationTime: toTimestamp(m.ConfigurationTime),
		ConfigurationProblems: int32(m.Problems), //nolint:gosec // a replica reports few problems
		Store:                 &authmaterialv1.Dependency{Configured: m.StoreConfigured, Available: m.StoreAvailable},
	}
}

func toDependency(d management.Dependency) *authmaterialv1.Dependency {
	message := &authmaterialv1.Dependency{Configured: d.Configured, Available: d.Available, Explanation: d.Explanation}
	if d.Staleness != 0 {
		message.Staleness = durationpb.New(d.Staleness)
	}
	return message
}

func toState(state broker.State) authmaterialv1.CredentialState {
	return authmaterialv1.CredentialState(authmaterialv1.CredentialState_value["CREDENTIAL_STATE_"+string(state)])
}

func toMaterialStatus(m *broker.MaterialStatus) *authmaterialv1.MaterialStatus {
	message := &authmaterialv1.MaterialStatus{
		Version: int32(m.Version), ObtainTime: toTimestamp(m.ObtainTime), ExpireTime: toTimestamp(m.ExpireTime), //nolint:gosec // a version number is at most a few thousand
		RenewTime: toTimestamp(m.RenewTime), NextAttemptTime: toTimestamp(m.NextAttemptTime),
		LastReportTime: toTimestamp(m.LastReportTime), Reports: m.Reports,
	}
	if last := m.LastAttempt; last != nil {
		message.LastAttempt = &authmaterialv1.TokenAttempt{
			Time: toTimestamp(last.Time), Succeeded: last.Problem == "", HttpStatus: int32(last.Status), //nolint:gosec // an HTTP status
			OauthError: last.OAuthError, Explanation: last.Problem,
		}
	}
	return message
}
