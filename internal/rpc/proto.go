package rpc

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/broker"
)

// toProto writes a decoration for the wire. Here its secrets leave the broker.
func toProto(decoration *broker.Decoration) *authmaterialv1.AuthDecoration {
	material := decoration.Material
	message := &authmaterialv1.AuthDecoration{
		CredentialId:     decoration.CredentialID,
		Version:          decoration.Version,
		Headers:          make([]*authmaterialv1.Header, len(material.Headers)),
		QueryParams:      make([]*authmaterialv1.QueryParam, len(material.QueryParams)),
		RefreshTime:      timestamppb.New(decoration.RefreshTime),
		AllowedHosts:     decoration.AllowedHosts,
		RejectedStatuses: make([]int32, len(decoration.RejectedStatuses)),
	}
	for i, pair := range material.Headers {
		message.Headers[i] = &authmaterialv1.Header{Name: pair.Name, Value: pair.Value.Reveal()}
	}
	for i, pair := range material.QueryParams {
		message.QueryParams[i] = &authmaterialv1.QueryParam{Name: pair.Name, Value: pair.Value.Reveal()}
	}
	for i, status := range decoration.RejectedStatuses {
		message.RejectedStatuses[i] = int32(status) //nolint:gosec // 400 to 599
	}
	if !decoration.LastRejectionTime.IsZero() {
		message.LastRejectionTime = timestamppb.New(decoration.LastRejectionTime)
	}
	if !decoration.ExpireTime.IsZero() {
		message.ExpireTime = timestamppb.New(decoration.ExpireTime)
	}
	return message
}
