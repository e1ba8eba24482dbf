package server

import (
	"encoding/binary"

	"golang.org/x/net/http2"
)

// frames finds the frames in one direction of an HTTP/2 connection.
type frames struct {
	// found gets each frame when its head is there. The code is that of RST_STREAM and
	// GOAWAY.
	found func(head http2.FrameHeader, code http2.ErrCode)

	head [goAwayHead]byte // of the frame that is looked at
	have int              // bytes of it
	skip uint32           // bytes of the frame after its head
}

// What is read of a frame: its header, and the payload up to the error code.
const (
	frameHead     = 9
	rstStreamHead = frameHead + 4
	goAwayHead    = frameHead + 8
)

// look takes all that was read or written next.
func (f *frames) look(data []byte) {
	for len(data) > 0 {
		data = data[f.next(data):]
	}
}

// next takes the beginning of it, and returns how much that was.
func (f *frames) next(data []byte) int {
	if f.skip > 0 {
		n := min(int(f.skip), len(data))
		f.skip -= uint32(n) //nolint:gosec // no more than skip
		return n
	}
	want := f.wanted()
	n := copy(f.head[f.have:want], data)
	if f.have += n; f.have == want && f.wanted() == want {
		f.end()
	}
	return n
}

// wanted is how much of the frame is its head, as far as that can be told. A frame that is
// too short for its kind has no code: whoever reads it ends the connection.
func (f *frames) wanted() int {
	if f.have < frameHead {
		return frameHead
	}
	switch kind, length := http2.FrameType(f.head[3]), int(f.length()); {
	case kind == http2.FrameRSTStream && length >= rstStreamHead-frameHead:
		return rstStreamHead
	case kind == http2.FrameGoAway && length >= goAwayHead-frameHead:
		return goAwayHead
	default:
		return frameHead
	}
}

func (f *frames) length() uint32 {
	return uint32(f.head[0])<<16 | uint32(f.head[1])<<8 | uint32(f.head[2])
}

// end comes after the head of a frame.
func (f *frames) end() {
	head := http2.FrameHeader{
		Type:     http2.FrameType(f.head[3]),
		Flags:    http2.Flags(f.head[4]),
		Length:   f.length(),
		StreamID: binary.BigEndian.Uint32(f.head[5:]) & (1<<31 - 1),
	}
	var code http2.ErrCode
	if f.have > frameHead {
		code = http2.ErrCode(binary.BigEndian.Uint32(f.head[f.have-4 : f.have]))
	}
	f.skip = head.Length - uint32(f.have-frameHead) //nolint:gosec // it has that much
	f.have = 0
	f.found(head, code)
}
