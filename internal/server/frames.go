package server

import (
	"encoding/binary"
	"net"

	"golang.org/x/net/http2"
)

// frameConn looks at the HTTP/2 frames that a server writes. gRPC ends streams and
// connections that break its limits by itself, and tells nobody but the client.
type frameConn struct {
	net.Conn
	// ended gets the error code of each RST_STREAM and GOAWAY.
	ended func(http2.FrameType, http2.ErrCode)

	head [goAwayHead]byte // of the frame that is being written
	have int              // bytes of it
	skip uint32           // bytes of the frame after its head
}

// What is read of a frame: its header, and the payload up to the error code.
const (
	frameHead     = 9
	rstStreamHead = frameHead + 4
	goAwayHead    = frameHead + 8
)

// Write implements net.Conn. It is for one goroutine at a time.
func (c *frameConn) Write(data []byte) (int, error) {
	n, err := c.Conn.Write(data)
	for rest := data[:n]; len(rest) > 0; {
		rest = rest[c.look(rest):]
	}
	return n, err
}

// look takes the beginning of what is written, and returns how much that was.
func (c *frameConn) look(data []byte) int {
	if c.skip > 0 {
		n := min(int(c.skip), len(data))
		c.skip -= uint32(n) //nolint:gosec // no more than skip
		return n
	}
	want := c.wanted()
	n := copy(c.head[c.have:want], data)
	if c.have += n; c.have == want && c.wanted() == want {
		c.end()
	}
	return n
}

// wanted is how much of the frame is its head, as far as that can be told.
func (c *frameConn) wanted() int {
	if c.have < frameHead {
		return frameHead
	}
	switch http2.FrameType(c.head[3]) {
	case http2.FrameRSTStream:
		return rstStreamHead
	case http2.FrameGoAway:
		return goAwayHead
	default:
		return frameHead
	}
}

// end comes after the head of a frame.
func (c *frameConn) end() {
	length := uint32(c.head[0])<<16 | uint32(c.head[1])<<8 | uint32(c.head[2])
	c.skip = length - uint32(c.have-frameHead) //nolint:gosec // both kinds of frames have that much
	if c.have > frameHead {
		c.ended(http2.FrameType(c.head[3]), http2.ErrCode(binary.BigEndian.Uint32(c.head[c.have-4:c.have])))
	}
	c.have = 0
}
