package rpc

import (
	"runtime"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec that ours is built on
	"google.golang.org/grpc/mem"
)

// answer is an encoded message. Its bytes are not changed.
type answer struct {
	bytes []byte
	// sent is called once the answer was sent, or never will be, maybe again; nil: nothing is.
	sent func()
}

// newBatchAnswer returns an answer that calls sent, at least once. gRPC does not put back the buffer
// of every answer whose connection or call has ended: then the garbage collector calls it.
func newBatchAnswer(bytes []byte, sent func()) *answer {
	made := &answer{bytes: bytes, sent: sent}
	runtime.AddCleanup(made, func(sent func()) { sent() }, sent)
	return made
}

// codec is gRPC's own, but that answers are encoded already.
type codec struct{ encoding.CodecV2 }

// NewCodec returns the codec of a server with a Service.
func NewCodec() encoding.CodecV2 { return codec{encoding.GetCodecV2("proto")} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(value any) (mem.BufferSlice, error) {
	encoded, ok := value.(*answer)
	switch {
	case !ok:
		return c.CodecV2.Marshal(value)
	case encoded.sent == nil:
		return mem.BufferSlice{mem.SliceBuffer(encoded.bytes)}, nil
	case mem.IsBelowBufferPoolingThreshold(cap(encoded.bytes)): // gRPC does not put such a buffer back
		encoded.sent()
		return mem.BufferSlice{mem.SliceBuffer(encoded.bytes)}, nil
	default:
		return mem.BufferSlice{mem.NewBuffer(&encoded.bytes, sentPool(encoded.sent))}, nil
	}
}

// sentPool is the pool of one buffer, which gRPC puts back when it was sent, or when its call has
// ended.
type sentPool func()

// Get implements mem.BufferPool. Nobody calls it.
func (sentPool) Get(length int) *[]byte {
	made := make([]byte, length)
	return &made
}

// Put implements mem.BufferPool.
func (sent sentPool) Put(*[]byte) { sent() }
