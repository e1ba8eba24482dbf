package server

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// heldAnswer is an answer that its connection holds until it is sent, or never will be.
type heldAnswer struct {
	proto.Message
	encoded *encodedAnswer
}

// encodedAnswer is the pool of the one buffer that has an answer. It does not keep the answer's
// message. gRPC's own pool would have a mebibyte for whatever is beyond 32 KiB.
type encodedAnswer struct {
	held *held
	size int
}

// hold counts an answer, and returns it in the form that the codec takes. Small ones do not
// count. It returns false where there is no room.
func hold(answer any, by *held) (any, bool) {
	message, ok := answer.(proto.Message)
	if !ok {
		return answer, true
	}
	size := proto.Size(message)
	if mem.IsBelowBufferPoolingThreshold(size) {
		return answer, true
	}
	return &heldAnswer{message, &encodedAnswer{by, size}}, by.take(size)
}

// answerCodec is gRPC's own, which notes when an answer leaves the memory.
type answerCodec struct{ encoding.CodecV2 }

func newAnswerCodec() answerCodec { return answerCodec{encoding.GetCodecV2("proto")} }

// Marshal implements encoding.CodecV2.
func (c answerCodec) Marshal(value any) (mem.BufferSlice, error) {
	answer, ok := value.(*heldAnswer)
	if !ok {
		return c.CodecV2.Marshal(value)
	}
	encoded, err := proto.MarshalOptions{}.MarshalAppend(*answer.encoded.Get(0), answer.Message)
	if err != nil {
		answer.encoded.Put(nil)
		return nil, err
	}
	return mem.BufferSlice{mem.NewBuffer(&encoded, answer.encoded)}, nil
}

// Get implements mem.BufferPool.
func (a *encodedAnswer) Get(length int) *[]byte {
	buffer := make([]byte, length, a.size)
	return &buffer
}

// Put implements mem.BufferPool. gRPC puts a buffer back when it is sent, or when the call has
// ended without that.
func (a *encodedAnswer) Put(*[]byte) { a.held.give(a.size) }

// holdingStream is a stream whose messages its connection holds.
type holdingStream struct {
	grpc.ServerStream
	guard guard
}

// SendMsg implements grpc.ServerStream.
func (s holdingStream) SendMsg(message any) error {
	answer, ok := hold(message, holderOf(s.Context()))
	if !ok {
		return s.guard.over(s.Context(), limitMemory, "", unread, 0)
	}
	return s.ServerStream.SendMsg(answer)
}
