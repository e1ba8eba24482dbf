// Package peertest runs servers that send hostile answers, for tests of HTTP clients. For example,
// an answer never ends, or announces more data than it contains.
package peertest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// `endless` is the size of answers that stand for endless ones. A client without a limit fails its
// test, but the machine does not run out of memory.
const endless = 256 << 20

// Answer writes an HTTP/1.1 answer. An Answer returns early if the client closes the connection.
type Answer func(to io.Writer)

// Answers returns answers that a client must not accept. The keys of the map describe what is wrong
// with the answers.
func Answers() map[string]Answer {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	const chunked = ok + "Transfer-Encoding: chunked\r\n\r\n"
	return map[string]Answer{
		"1 TiB announced, 7 bytes sent": written(ok+"Content-Length: 1099511627776\r\n\r\n{\"a\":1,", ""),
		"a body without end":            written(ok+"Content-Length: 1099511627776\r\n\r\n", " "),
		"chunks without end":            written(chunked, "400\r\n"+strings.Repeat(" ", 1024)+"\r\n"),
		"a chunk of 8 EiB":              written(chunked+"7fffffffffffffff\r\n", ""),
		"a chunk header without end":    written(chunked+"1;", "x"),
		"trailers without end":          written(chunked+"0\r\n", "X: y\r\n"),
		"a gzip bomb":                   written(ok+"Content-Encoding: gzip\r\n\r\n", bomb()),
		"headers without end":           written(ok, "X: y\r\n"),
		"a header without end":          written(ok+"X: ", "x"),
		"a status line without end":     written("HTTP/1.1 200 ", "x"),
		"interim answers without end":   written("", "HTTP/1.1 103 Early Hints\r\n\r\n"),
		"interim answers with headers":  written("", "HTTP/1.1 103 Early Hints\r\nLink: "+strings.Repeat("x", 1000)+"\r\n\r\n"),
	}
}

// bomb returns 1 MiB of spaces in compressed form. Several copies of this data, one after another,
// are valid compressed data too.
func bomb() string {
	var compressed bytes.Buffer
	writer := gzip.NewWriter(&compressed)
	_, _ = writer.Write(bytes.Repeat([]byte(" "), 1<<20))
	_ = writer.Close()
	return compressed.String()
}

// `written` returns an Answer that writes `beginning` once, and then repeats `rest`, unless `rest`
// is empty.
func written(beginning, rest string) Answer {
	part := []byte(strings.Repeat(rest, 1+(64<<10)/max(1, len(rest))))
	return func(to io.Writer) {
		if _, err := io.WriteString(to, beginning); err != nil || rest == "" {
			return
		}
		for sent := 0; sent < endless; sent += len(part) {
			if _, err := to.Write(part); err != nil {
				return
			}
		}
	}
}

// Serve answers each request with the given answer, and closes the connection. The server stops
// when the test ends.
func Serve(t testing.TB, answer Answer) (address string) {
	t.Helper()
	return listen(t, func(conn net.Conn) {
		request, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		if request.Method != http.MethodConnect {
			_, _ = io.Copy(io.Discard, request.Body)
		}
		answer(conn)
	})
}

func listen(t testing.TB, serve func(net.Conn)) (address string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close() //nolint:errcheck // the client may have closed the connection
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return listener.Addr().String()
}

// WantAllocated fails the test if the process allocates more than `most` bytes while `do` runs.
func WantAllocated(t testing.TB, most uint64, do func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	got := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d KiB were allocated", got>>10)
	if got > most {
		t.Errorf("%d KiB were allocated, want %d at most", got>>10, most>>10)
	}
}
