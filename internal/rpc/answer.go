package rpc

import (
	"runtime"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec that ours is built on
	"google.golang.org/grpc/mem"
)

// answer is an encoded message. Its bytes are not changed. That of a batch is the mem.BufferPool to
// which gRPC puts the buffer back when it was sent, or when its call has ended.
type answer struct {
	bytes []byte
	// sent is called once a batch was sent, or never will be, maybe again; nil: it is no batch.
	sent func()
}

// batchBuffers are for the answers of batches. gRPC's own pool has none between 32 KiB and 1 MiB.
var batchBuffers = mem.NewTieredBufferPool(4<<10, 16<<10, 64<<10, 256<<10) // none so small that gRPC would not put it back

// newBatchAnswer returns the answer of a batch. It calls sent, at least once. gRPC does not put back the
// buffer of every answer whose connection or call has ended: then the garbage collector calls it.
func newBatchAnswer(results []state, sent func()) *answer {
	buffer := batchBuffers.Get(sizeOfBatch(results))
	*buffer = appendBatch((*buffer)[:0], results)
	made := &answer{bytes: *buffer, sent: sent}
	runtime.AddCleanup(made, func(sent func()) { sent() }, sent)
	return made
}

// Get implements mem.BufferPool. Nobody calls it.
func (*answer) Get(length int) *[]byte { return batchBuffers.Get(length) }

// Put implements mem.BufferPool.
func (a *answer) Put(buffer *[]byte) {
	batchBuffers.Put(buffer)
	a.sent()
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
	default:
		buffer := encoded.bytes // whose pointer stays in the pool, and would hold the answer there
		return mem.BufferSlice{mem.NewBuffer(&buffer, encoded)}, nil
	}
}
