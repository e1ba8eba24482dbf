package hostiletest

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// overHTTP opens connections to the broker's HTTP port, and calls a function for each.
func overHTTP(ctx context.Context, b *broker, connections int, do func(conn net.Conn)) {
	crowd(connections, func(int) {
		conn, err := b.connect(b.http)
		if err != nil {
			return
		}
		keep(ctx, conn)
		_ = conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
		do(conn)
	})
}

const beginning = "GET /livez HTTP/1.1\r\nHost: broker.test\r\n"

// TestSlowHeaders sends HTTP headers byte by byte, and never ends the headers.
func TestSlowHeaders(t *testing.T) {
	withstandUnproved(t, func(ctx context.Context, b *broker) {
		overHTTP(ctx, b, 2000, func(conn net.Conn) {
			_, _ = io.WriteString(conn, beginning+"X-Slow: "+strings.Repeat("x", 12<<10))
			go func() {
				for tick := time.NewTicker(100 * time.Millisecond); ; {
					select {
					case <-ctx.Done():
						return
					case <-tick.C:
					}
					if _, err := io.WriteString(conn, "x"); err != nil {
						return
					}
				}
			}()
		})
	})
}

func TestOversizedHTTPHeaders(t *testing.T) {
	withstandUnproved(t, func(ctx context.Context, b *broker) {
		overHTTP(ctx, b, 500, func(conn net.Conn) {
			_, _ = io.WriteString(conn, beginning+"X-Large: "+strings.Repeat("x", 1<<20))
		})
	})
}

// TestMetricsNeverRead requests the broker's metrics repeatedly, without reading the answers.
func TestMetricsNeverRead(t *testing.T) {
	withstandUnproved(t, func(ctx context.Context, b *broker) {
		overHTTP(ctx, b, 800, func(conn net.Conn) {
			request := strings.Replace(beginning, "/livez", "/metrics", 1) + "Accept-Encoding: gzip\r\n\r\n"
			_, _ = io.WriteString(conn, strings.Repeat(request, 1000))
		})
	})
}

// TestIdleHTTPConnections opens thousands of connections, makes one request on each, and leaves it
// open.
func TestIdleHTTPConnections(t *testing.T) {
	withstandUnproved(t, func(ctx context.Context, b *broker) {
		overHTTP(ctx, b, 3000, func(conn net.Conn) { _, _ = io.WriteString(conn, beginning+"\r\n") })
	})
}

// TestBodiesOverHTTP sends requests with a Content-Length of 1 TiB, or with endless chunks, which
// the broker must not read.
func TestBodiesOverHTTP(t *testing.T) {
	for name, body := range map[string]string{
		"announced": "Content-Length: 1099511627776\r\n\r\n",
		"chunked":   "Transfer-Encoding: chunked\r\n\r\n",
		"a chunk":   "Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			withstandUnproved(t, func(ctx context.Context, b *broker) {
				part := strings.Repeat("400\r\n"+strings.Repeat("x", 1024)+"\r\n", 64)
				overHTTP(ctx, b, 200, func(conn net.Conn) {
					_, err := io.WriteString(conn, strings.Replace(beginning, "/livez", "/metrics", 1)+body)
					for range 64 { // 4 MiB
						if err == nil {
							_, err = io.WriteString(conn, part)
						}
					}
				})
			})
		})
	}
}
