package peertest

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// HTTP2Answer writes an HTTP/2 or gRPC answer to an established connection.
type HTTP2Answer func(to *http2.Framer, stream uint32)

// HTTP2Answers returns answers that an HTTP/2 or gRPC client must not accept. The keys of the map
// describe what is wrong with the answers.
func HTTP2Answers() map[string]HTTP2Answer {
	good := []string{":status", "200", "content-type", "application/grpc"}
	many := block("x", strings.Repeat("y", 1000))
	return map[string]HTTP2Answer{
		"headers without end": headers(block(good...), bytes.Repeat(many, 16)),
		"a header of 1 GiB":   headers(append(block(good...), "\x00\x01x\x7f\x81\xff\xff\xff\x03"...), bytes.Repeat([]byte("y"), 16<<10)),
		"4 GiB announced, 1 byte sent": func(to *http2.Framer, stream uint32) {
			_ = begin(to, stream, block(good...))
			_ = to.WriteData(stream, false, []byte("\x00\xff\xff\xff\xffx"))
		},
		"a gzip bomb": func(to *http2.Framer, stream uint32) {
			_ = begin(to, stream, block(append(good, "grpc-encoding", "gzip")...))
			data := strings.Repeat(bomb(), 50)                                    // the data fits into a flow-control window of 64 KiB
			prefix := binary.BigEndian.AppendUint32([]byte{1}, uint32(len(data))) //nolint:gosec // the data has only a few KiB
			data = string(prefix) + data
			for ; data != ""; data = data[min(len(data), 16<<10):] {
				if to.WriteData(stream, false, []byte(data[:min(len(data), 16<<10)])) != nil {
					return
				}
			}
		},
	}
}

// headers returns an answer that consists of HTTP/2 header blocks. The answer contains `beginning`
// once, and then `rest` repeatedly.
func headers(beginning, rest []byte) HTTP2Answer {
	return func(to *http2.Framer, stream uint32) {
		err := to.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: beginning})
		for sent := 0; err == nil && sent < endless; sent += len(rest) {
			err = to.WriteContinuation(stream, false, rest)
		}
	}
}

// Interim sends interim answers (status 103) without an end. gRPC clients discard them until the
// deadline of the call.
func Interim(to *http2.Framer, stream uint32) {
	// The header block is encoded once, because tests count the allocations of the whole process.
	answer := block(":status", "103", "link", strings.Repeat("x", 1000))
	for sent := 0; sent < endless && begin(to, stream, answer) == nil; sent += len(answer) {
	}
}

func begin(to *http2.Framer, stream uint32, fields []byte) error {
	return to.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: fields, EndHeaders: true})
}

func block(fields ...string) []byte {
	var encoded bytes.Buffer
	encoder := hpack.NewEncoder(&encoded)
	for pair := range slices.Chunk(fields, 2) { // HPACK does not refer back to sensitive fields, so the encoded block can be sent several times
		_ = encoder.WriteField(hpack.HeaderField{Name: pair[0], Value: pair[1], Sensitive: true})
	}
	return encoded.Bytes()
}

// ServeHTTP2 answers each request with the given answer, without TLS. The server stops when the
// test ends.
func ServeHTTP2(t testing.TB, answer HTTP2Answer) (address string) {
	t.Helper()
	return listen(t, func(conn net.Conn) { Speak(conn, answer) })
}

// Speak acts as an HTTP/2 server until the client closes the connection.
func Speak(conn net.Conn, answer HTTP2Answer) {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(conn, conn)
	if framer.WriteSettings() != nil {
		return
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				_ = framer.WritePing(true, frame.Data)
			}
		case *http2.HeadersFrame:
			answer(framer, frame.StreamID)
		}
	}
}
