package server

import (
	"errors"
	"net"
	"sync"

	"golang.org/x/net/http2"
)

// frameConn looks at the HTTP/2 frames of a connection. gRPC ends streams and connections
// that break its own limits, and tells nobody but the client. And it keeps a call until its
// answer is sent, for as long as the client likes: so what calls hold is counted here, by
// what goes over the wire.
type frameConn struct {
	net.Conn
	held *held
	// ended gets the error code of each RST_STREAM and GOAWAY that is written.
	ended func(http2.FrameType, http2.ErrCode)
	// over is called when the client is cut off, because it holds too much.
	over func()

	in, out frames

	mu      sync.Mutex
	streams map[uint32]int // the bytes that those that have not ended hold
	more    int            // bytes that streams hold since the last settling
	left    int            // bytes of those that the client took back since then
}

// What a call with no more than maxHeaders counts for beside what is received of it, and each of
// its frames.
const (
	streamBytes = 6 << 10
	frameBytes  = 128
)

var errHeld = errors.New("the client has the broker keep too much")

func newFrameConn(conn net.Conn, by *held, l *limits) *frameConn {
	c := &frameConn{Conn: conn, held: by, ended: l.ended, over: func() { l.bite(limitMemory, "") }, streams: map[uint32]int{}}
	c.in = frames{found: c.received, skip: uint32(len(http2.ClientPreface))}
	c.out = frames{found: c.sent}
	return c
}

// Read implements net.Conn. It is for one goroutine at a time.
func (c *frameConn) Read(data []byte) (int, error) {
	n, err := c.Conn.Read(data)
	if !c.settle(&c.in, data[:n]) {
		_ = c.Close()
		c.over()
		return 0, errHeld
	}
	return n, err
}

// Write implements net.Conn. It is for one goroutine at a time.
func (c *frameConn) Write(data []byte) (int, error) {
	n, err := c.Conn.Write(data)
	c.settle(&c.out, data[:n])
	return n, err
}

// settle looks at data, and counts what streams hold because of it. It returns false where
// there is no room.
func (c *frameConn) settle(direction *frames, data []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	direction.look(data)
	more := c.more
	c.more = 0
	if more < 0 {
		c.held.give(-more)
	}
	if left := c.left; left > 0 {
		c.left = 0
		c.held.giveLater(left)
	}
	return more <= 0 || c.held.take(more)
}

// received counts what a stream holds.
func (c *frameConn) received(head http2.FrameHeader, _ http2.ErrCode) {
	holds, known := c.streams[head.StreamID]
	switch {
	case head.Type == http2.FrameHeaders && !known:
		holds += streamBytes
	case head.Type == http2.FrameRSTStream:
		c.left += c.streams[head.StreamID]
		delete(c.streams, head.StreamID)
		return
	case !known || head.Type != http2.FrameData && head.Type != http2.FrameContinuation && head.Type != http2.FrameHeaders:
		return
	}
	before := c.streams[head.StreamID]
	c.streams[head.StreamID] = holds + int(head.Length) + frameBytes
	c.more += c.streams[head.StreamID] - before
}

// sent notes the end of a stream or a connection.
func (c *frameConn) sent(head http2.FrameHeader, code http2.ErrCode) {
	switch head.Type {
	case http2.FrameRSTStream:
		c.end(head.StreamID)
		c.ended(head.Type, code)
	case http2.FrameGoAway:
		c.ended(head.Type, code)
	case http2.FrameHeaders, http2.FrameData:
		if head.Flags.Has(http2.FlagDataEndStream) { // the same as that of headers
			c.end(head.StreamID)
		}
	default:
	}
}

func (c *frameConn) end(stream uint32) {
	c.more -= c.streams[stream]
	delete(c.streams, stream)
}
