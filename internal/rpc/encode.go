package rpc

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/broker"
)

// Numbers of fields, as in the protos. TestEncodedAnswers compares what is encoded by them with
// what the generated code reads.
const (
	getDecoration     = 1
	reportDecoration  = 1
	reportOutcome     = 2
	batchResults      = 1
	stateCredentialID = 1 // of an AuthDecorationResult, and of a WatchAuthDecorationsResponse
	stateDecoration   = 2
	stateError        = 3
)

// Encode encodes a decoration as a GetAuthDecorationResponse, for broker.Options. Here its secrets
// leave the broker.
func Encode(decoration *broker.Decoration) []byte {
	encoded, err := proto.Marshal(&authmaterialv1.GetAuthDecorationResponse{AuthDecoration: toProto(decoration)})
	if err != nil {
		panic("rpc: a decoration has text that is not UTF-8") // config and strategies refuse it
	}
	return encoded
}

// decorationOf returns the encoded AuthDecoration in a response of Encode.
func decorationOf(response []byte) []byte {
	_, _, tag := protowire.ConsumeTag(response)
	decoration, _ := protowire.ConsumeBytes(response[tag:])
	return decoration
}

// appendBytes appends a field of bytes, or of an encoded message.
func appendBytes(b []byte, number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), value)
}

// sizeOfBytes returns the size of a field of so many bytes.
func sizeOfBytes(number protowire.Number, size int) int {
	return protowire.SizeTag(number) + protowire.SizeBytes(size)
}

// encodeReport encodes a ReportRejectionResponse.
func encodeReport(decoration *broker.Decoration, outcome authmaterialv1.ReportRejectionResponse_Outcome) []byte {
	encoded := appendBytes(nil, reportDecoration, decorationOf(decoration.Encoded))
	encoded = protowire.AppendTag(encoded, reportOutcome, protowire.VarintType)
	return protowire.AppendVarint(encoded, uint64(outcome)) //nolint:gosec // enums here are not negative
}

// state is what a batch or a watch has for one ID, in its encoded form.
type state struct {
	id         string
	decoration []byte
	err        []byte // nil: there is none
}

func (s state) size() int {
	size := sizeOfBytes(stateCredentialID, len(s.id))
	if s.err != nil {
		return size + sizeOfBytes(stateError, len(s.err))
	}
	return size + sizeOfBytes(stateDecoration, len(s.decoration))
}

// append appends the fields of an AuthDecorationResult or of a WatchAuthDecorationsResponse.
func (s state) append(b []byte) []byte {
	b = protowire.AppendString(protowire.AppendTag(b, stateCredentialID, protowire.BytesType), s.id)
	if s.err != nil {
		return appendBytes(b, stateError, s.err)
	}
	return appendBytes(b, stateDecoration, s.decoration)
}

// sizeOfBatch returns the size of a BatchGetAuthDecorationsResponse.
func sizeOfBatch(results []state) int {
	size := 0
	for _, r := range results {
		size += sizeOfBytes(batchResults, r.size())
	}
	return size
}

// appendBatch appends the fields of a BatchGetAuthDecorationsResponse.
func appendBatch(b []byte, results []state) []byte {
	for _, r := range results {
		b = protowire.AppendTag(b, batchResults, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(r.size())) //nolint:gosec // a size is not negative
		b = r.append(b)
	}
	return b
}

// toProto writes a decoration as a message.
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
