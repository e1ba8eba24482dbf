package hostiletest

import (
	"bytes"
	"io"
	"net"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
)

// rawClient is an HTTP/2 client that ignores the limits that the server announces.
type rawClient struct {
	net.Conn
	framer *http2.Framer
	block  bytes.Buffer
	header *hpack.Encoder
	token  string
	last   uint32 // ID of the stream that was opened last
	err    error  // error of the last failed write
}

func (b *broker) open(settings ...http2.Setting) (*rawClient, error) {
	conn, err := b.connect(b.grpc)
	if err != nil {
		return nil, err
	}
	c := &rawClient{Conn: conn, framer: http2.NewFramer(conn, conn), token: b.hostile, last: ^uint32(0)}
	c.header = hpack.NewEncoder(&c.block)
	_, err = io.WriteString(conn, http2.ClientPreface)
	c.note(err)
	c.note(c.framer.WriteSettings(settings...))
	return c, nil
}

func (c *rawClient) note(err error) {
	if err != nil {
		c.err = err
	}
}

// `repeat` calls a function the given number of times, or until a write fails.
func (c *rawClient) repeat(times int, do func(i int)) {
	for i := 0; i < times && c.err == nil; i++ {
		do(i)
	}
}

func (c *rawClient) discard() { _, _ = io.Copy(io.Discard, c.Conn) }

// call begins a gRPC call with additional headers, and sends no message. If `endless` is true, the
// headers do not end.
func (c *rawClient) call(method string, endless bool, headers ...string) (stream uint32) {
	c.block.Reset()
	fields := []string{":method", "POST", ":scheme", "http", ":path", method,
		":authority", "broker.test", "content-type", "application/grpc", "te", "trailers"}
	if c.token != "" {
		fields = append(fields, "authorization", "Bearer "+c.token)
	}
	fields = append(fields, headers...)
	for i := 0; i < len(fields); i += 2 {
		// Large headers do not fit into the table for header compression, so they are sent
		// completely each time.
		c.note(c.header.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: len(fields[i+1]) > 500}))
	}
	c.last += 2
	first := true
	for block := c.block.Bytes(); first || len(block) > 0; first = false {
		part := block[:min(len(block), 16<<10)]
		block = block[len(part):]
		end := len(block) == 0 && !endless
		if first {
			c.note(c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.last, BlockFragment: part, EndHeaders: end}))
		} else {
			c.note(c.framer.WriteContinuation(c.last, end, part))
		}
	}
	return c.last
}

// send sends a part of a gRPC message, and announces the given size for the whole message.
func (c *rawClient) send(stream uint32, end bool, part []byte, size int) {
	prefix := []byte{0, byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}
	c.note(c.framer.WriteData(stream, end, append(prefix, part...)))
}

// `ask` sends a complete request without waiting for the answer.
func (c *rawClient) ask(method string, request proto.Message, headers ...string) (stream uint32) {
	message, err := proto.Marshal(request)
	c.note(err)
	stream = c.call(method, false, headers...)
	c.send(stream, true, message, len(message))
	return stream
}
