package rpc

import (
	"context"
	"runtime"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that ours extends
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/broker"
)

// TestEncodedAnswers compares these field numbers with the generated code.
const (
	batchResults   protowire.Number = 1
	itemID         protowire.Number = 1 // field number of the ID in AuthDecorationResult and in WatchAuthDecorationsResponse
	itemDecoration protowire.Number = 2
	itemError      protowire.Number = 3
)

// Encode encodes a decoration as a GetAuthDecorationResponse, for broker.Options.
func Encode(decoration *broker.Decoration) []byte {
	encoded, err := proto.Marshal(&authmaterialv1.GetAuthDecorationResponse{AuthDecoration: toProto(decoration)})
	if err != nil {
		panic("rpc: a decoration contains text that is not UTF-8") // config and strategies refuse such text
	}
	return encoded
}

// decorationOf returns the encoded AuthDecoration in a response from Encode.
func decorationOf(response []byte) []byte {
	_, _, tag := protowire.ConsumeTag(response)
	decoration, _ := protowire.ConsumeBytes(response[tag:])
	return decoration
}

func appendMessage(b []byte, number protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), message)
}

func sizeOfField(number protowire.Number, bytes int) int {
	return protowire.SizeTag(number) + protowire.SizeBytes(bytes)
}

// item is the material or the error for one credential ID of a batch or a watch.
type item struct {
	id      string
	field   protowire.Number // itemDecoration or itemError
	message []byte           // encoded
}

func (s *Service) toItem(ctx context.Context, result broker.Result) item {
	if result.Err == nil {
		return item{Shorten(result.CredentialID), itemDecoration, decorationOf(result.Decoration.Encoded)}
	}
	encoded, err := proto.Marshal(s.toItemError(ctx, result.Err))
	if err != nil {
		panic("rpc: an error contains text that is not UTF-8") // the broker itself writes all error messages
	}
	return item{Shorten(result.CredentialID), itemError, encoded}
}

func (i item) size() int {
	return sizeOfField(itemID, len(i.id)) + sizeOfField(i.field, len(i.message))
}

// append appends the fields of an AuthDecorationResult or a WatchAuthDecorationsResponse.
func (i item) append(b []byte) []byte {
	b = protowire.AppendString(protowire.AppendTag(b, itemID, protowire.BytesType), i.id)
	return appendMessage(b, i.field, i.message)
}

func sizeOfBatch(items []item) int {
	size := 0
	for _, i := range items {
		size += sizeOfField(batchResults, i.size())
	}
	return size
}

func appendBatch(b []byte, items []item) []byte {
	for _, i := range items {
		b = protowire.AppendTag(b, batchResults, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(i.size())) //nolint:gosec // the conversion is safe, because a size is not negative
		b = i.append(b)
	}
	return b
}

func toProto(decoration *broker.Decoration) *authmaterialv1.AuthDecoration {
	material := decoration.Material
	message := &authmaterialv1.AuthDecoration{
		CredentialId:     decoration.CredentialID,
		Version:          decoration.Version,
		Headers:          make([]*authmaterialv1.Header, len(material.Headers)),
		QueryParams:      make([]*authmaterialv1.QueryParam, len(material.QueryParams)),
		RefreshTime:      timestamppb.New(decoration.RefreshTime),
		AllowedHosts:     decoration.AllowedHosts,
		RejectedStatuses: statuses(decoration.RejectedStatuses),
		RejectedWhen:     toConditions(decoration.RejectedWhen),
	}
	for i, pair := range material.Headers {
		message.Headers[i] = &authmaterialv1.Header{Name: pair.Name, Value: pair.Value.Reveal(), OnlyIfAbsent: pair.OnlyIfAbsent}
	}
	for i, pair := range material.QueryParams {
		message.QueryParams[i] = &authmaterialv1.QueryParam{Name: pair.Name, Value: pair.Value.Reveal()}
	}
	if !decoration.LastRejectionTime.IsZero() {
		message.LastRejectionTime = timestamppb.New(decoration.LastRejectionTime)
	}
	if !decoration.ExpireTime.IsZero() {
		message.ExpireTime = timestamppb.New(decoration.ExpireTime)
	}
	return message
}

// answer is an encoded response, which does not change. In the answer of a batch, the field `bytes`
// is a buffer from batchBuffers. When gRPC has sent the answer, or the call has ended, gRPC returns
// the buffer with Put, a method of mem.BufferPool.
type answer struct {
	bytes []byte
	sent  func() // called once or twice after a batch was sent or its call has ended; nil for other answers
}

// batchBuffers is the pool of buffers for the answers of batches. gRPC's own pool has no sizes
// between 32 KiB and 1 MiB. Very small buffers are useless here, because gRPC does not return
// them to a pool.
var batchBuffers = mem.NewTieredBufferPool(4<<10, 16<<10, 64<<10, 256<<10)

// newBatchAnswer returns the answer of a batch. The function `sent` is called by Put, and again
// when the answer is garbage: gRPC does not always call Put if the connection or the call has
// ended.
func newBatchAnswer(items []item, sent func()) *answer {
	buffer := batchBuffers.Get(sizeOfBatch(items))
	*buffer = appendBatch((*buffer)[:0], items)
	made := &answer{bytes: *buffer, sent: sent}
	runtime.AddCleanup(made, func(sent func()) { sent() }, sent)
	return made
}

// Get implements mem.BufferPool. gRPC does not call it.
func (*answer) Get(length int) *[]byte { return batchBuffers.Get(length) }

// Put implements mem.BufferPool.
func (a *answer) Put(buffer *[]byte) {
	batchBuffers.Put(buffer)
	a.sent()
}

// codec is gRPC's own codec, except that it does not encode an answer again.
type codec struct{ encoding.CodecV2 }

// NewCodec returns the codec for a server on which a Service is registered.
func NewCodec() encoding.CodecV2 { return codec{encoding.GetCodecV2("proto")} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(value any) (mem.BufferSlice, error) {
	encoded, ok := value.(*answer)
	switch {
	case !ok:
		return c.CodecV2.Marshal(value)
	case encoded.sent == nil:
		return mem.BufferSlice{mem.SliceBuffer(encoded.bytes)}, nil
	default:
		buffer := encoded.bytes // a pointer to encoded.bytes itself would keep the answer in memory
		return mem.BufferSlice{mem.NewBuffer(&buffer, encoded)}, nil
	}
}
