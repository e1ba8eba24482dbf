package server_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// rawClient is an HTTP/2 client that does not obey the server's limits.
type rawClient struct {
	*testing.T
	net.Conn
	framer *http2.Framer
	block  bytes.Buffer
	header *hpack.Encoder
	last   uint32 // ID of the last opened stream
	events chan event
}

// An event is an action of the server: an "answer" begins, a call ends with a "status" and its
// code, the server sends a "reset" or a "goaway" with an error code, or the connection is "closed".
type event struct {
	what   string
	stream uint32
	code   uint32
}

// rawConnect opens a connection, with TLS unless the settings are nil.
func (h harness) rawConnect(settings *tls.Config) *rawClient {
	h.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(h.Context(), h.grpc.Addr().Network(), h.grpc.Addr().String())
	if err != nil {
		h.Fatal(err)
	}
	if settings != nil {
		conn = tls.Client(conn, settings)
	}
	h.Cleanup(func() { _ = conn.Close() })
	c := &rawClient{T: h.T, Conn: conn, framer: http2.NewFramer(conn, conn), last: ^uint32(0), events: make(chan event, 10_000)}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.header = hpack.NewEncoder(&c.block)
	_, _ = io.WriteString(conn, http2.ClientPreface)
	_ = c.framer.WriteSettings()
	go c.listen()
	return c
}

func (c *rawClient) listen() {
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			c.events <- event{what: "closed"}
			return
		}
		switch f := frame.(type) {
		case *http2.RSTStreamFrame:
			c.events <- event{"reset", f.StreamID, uint32(f.ErrCode)}
		case *http2.GoAwayFrame:
			c.events <- event{"goaway", 0, uint32(f.ErrCode)}
		case *http2.MetaHeadersFrame:
			c.events <- ofHeaders(f)
		}
	}
}

// ofHeaders returns the event for received headers, which either begin an answer or end it.
func ofHeaders(f *http2.MetaHeadersFrame) event {
	for _, field := range f.Fields {
		if code, err := strconv.Atoi(field.Value); field.Name == "grpc-status" && err == nil {
			return event{"status", f.StreamID, uint32(code)}
		}
	}
	return event{what: "answer", stream: f.StreamID}
}

// open begins a call of BrokerService with additional headers, and sends no message yet.
func (c *rawClient) open(method string, headers ...string) (stream uint32) {
	return c.openPath("/authmaterial.v1.BrokerService/"+method, headers...)
}

func (c *rawClient) openPath(path string, headers ...string) (stream uint32) {
	c.block.Reset()
	fields := append([]string{":method", "POST", ":scheme", "http", ":path", path,
		":authority", "broker.test", "content-type", "application/grpc", "te", "trailers"}, headers...)
	for i := 0; i < len(fields); i += 2 {
		_ = c.header.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	c.last += 2
	first := true
	for block := c.block.Bytes(); first || len(block) > 0; first = false {
		part := block[:min(len(block), 16<<10)]
		block = block[len(part):]
		if first {
			_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.last, BlockFragment: part, EndHeaders: len(block) == 0})
		} else {
			_ = c.framer.WriteContinuation(c.last, len(block) == 0, part)
		}
	}
	return c.last
}

// send sends a message with a declared size, and ends the client's side of the stream.
func (c *rawClient) send(stream uint32, message []byte, size int) {
	prefix := []byte{0, byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}
	_ = c.framer.WriteData(stream, true, append(prefix, message...))
}

func (c *rawClient) get(headers ...string) (stream uint32) {
	stream = c.open("GetAuthDecoration", headers...)
	message, err := proto.Marshal(&authmaterialv1.GetAuthDecorationRequest{CredentialId: "key-of-board"})
	if err != nil {
		c.Fatal(err)
	}
	c.send(stream, message, len(message))
	return stream
}

func (c *rawClient) next() event {
	c.Helper()
	select {
	case e := <-c.events:
		return e
	case <-time.After(20 * time.Second):
		c.Fatal("the server sends no further frames")
		return event{}
	}
}

// end waits until a call or the connection ends, and returns the last event.
func (c *rawClient) end(stream uint32) event {
	c.Helper()
	for {
		if e := c.next(); e.what == "closed" || e.stream == stream && e.what != "answer" {
			return e
		}
	}
}

// want checks how the given stream ends, or how the connection ends if the stream is 0.
func (c *rawClient) want(what string, stream uint32, code uint32) {
	c.Helper()
	if e := c.end(stream); e.what != what || e.code != code {
		c.Fatalf("the server sends %+v, want %s %d", e, what, code)
	}
}

func (c *rawClient) wantStatus(stream uint32, code codes.Code) {
	c.Helper()
	c.want("status", stream, uint32(code))
}
