package hostiletest

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/health/grpc_health_v1"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

const (
	methodGet    = authmaterialv1.BrokerService_GetAuthDecoration_FullMethodName
	methodBatch  = authmaterialv1.BrokerService_BatchGetAuthDecorations_FullMethodName
	methodWatch  = authmaterialv1.BrokerService_WatchAuthDecorations_FullMethodName
	methodCreate = authmaterialv1.CredentialService_CreateCredential_FullMethodName
	methodHealth = grpc_health_v1.Health_Check_FullMethodName
	healthWatch  = grpc_health_v1.Health_Watch_FullMethodName
)

// `leaving` contains the gRPC methods to which attackers send requests that they never finish.
var leaving = []string{methodGet, methodWatch, methodHealth, healthWatch}

// TestStreamsLeftOpen opens thousands of calls with the largest headers, and sends no messages.
func TestStreamsLeftOpen(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 20, func(c *rawClient) {
			c.repeat(1000, func(i int) {
				c.call(leaving[i%len(leaving)], false, large...)
			})
		})
	})
}

// TestBareStreamsLeftOpen opens thousands of calls without additional headers, and sends no
// messages.
func TestBareStreamsLeftOpen(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 20, func(c *rawClient) {
			c.repeat(1000, func(i int) {
				c.call(leaving[i%len(leaving)], false)
			})
		})
	})
}

// TestRapidReset opens calls and cancels each call at once.
func TestRapidReset(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		ctx, stop := context.WithTimeout(ctx, 3*time.Second)
		defer stop()
		crowd(16, func(int) {
			for ctx.Err() == nil { // the server closes a connection after about a thousand cancelled calls
				clients(ctx, b, 1, 5*time.Second, func(_ int, c *rawClient) {
					go c.discard()
					c.repeat(5000, func(int) {
						stream := c.ask(methodBatch, largeBatch(), "x-some", strings.Repeat("x", 100))
						c.note(c.framer.WriteRSTStream(stream, http2.ErrCodeCancel))
					})
				})
			}
		})
	})
}

// TestStalledMessages sends all but the last byte of messages of the largest allowed size.
func TestStalledMessages(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 20, func(c *rawClient) {
			c.repeat(1000, func(i int) {
				stream := c.call(leaving[i%len(leaving)], false)
				c.send(stream, false, make([]byte, 16<<10-1-8), 16<<10)
			})
		})
	})
}

// TestStalledLargeRequests sends parts of requests to create credentials, which may be larger than
// other requests.
func TestStalledLargeRequests(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 20, func(c *rawClient) {
			var streams []uint32
			c.repeat(100, func(int) {
				stream := c.call(methodCreate, false)
				c.send(stream, false, make([]byte, 16<<10-5), 1<<20)
				streams = append(streams, stream)
			})
			c.repeat(20, func(int) {
				for _, stream := range streams {
					c.note(c.framer.WriteData(stream, false, make([]byte, 16<<10)))
				}
			})
		})
	})
}

// TestTooMuchOfAMessage sends more data in a call than the announced size of the message.
func TestTooMuchOfAMessage(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 20, func(c *rawClient) {
			c.repeat(1000, func(i int) {
				stream := c.call([]string{methodWatch, healthWatch}[i%2], false)
				c.send(stream, false, []byte{10, 3, 'k', 'e', 'y'}, 5)
				for range 3 {
					c.note(c.framer.WriteData(stream, false, make([]byte, 16<<10)))
				}
			})
		})
	})
}

// TestOversizedMessages announces messages far over the size limit, and sends as much of them as it
// can.
func TestOversizedMessages(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 20, func(c *rawClient) {
			c.repeat(500, func(i int) {
				stream := c.call([]string{methodGet, methodWatch}[i%2], false)
				c.send(stream, false, make([]byte, 16<<10-5), 1<<30)
				for range 2 {
					c.note(c.framer.WriteData(stream, false, make([]byte, 16<<10)))
				}
			})
		})
	})
}

// TestCrumbs sends messages in HTTP/2 frames of a few bytes without the last frame. Each frame
// occupies more memory than its content.
func TestCrumbs(t *testing.T) {
	for _, size := range []int{1, 257, 1025} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			withstand(t, func(ctx context.Context, b *broker) {
				crumb := make([]byte, size)
				reading(ctx, b, 20, func(c *rawClient) {
					c.repeat(100, func(int) {
						c.send(c.call(methodWatch, false), false, nil, 16<<10)
						c.repeat((16<<10-1)/size, func(int) { c.note(c.framer.WriteData(c.last, false, crumb)) })
					})
				})
			})
		})
	}
}

// TestStreamsOfManyConnections opens connections one after another, and as many streams on each as
// the broker allows.
func TestStreamsOfManyConnections(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		for before := range 950 {
			reading(ctx, b, 1, func(c *rawClient) {
				left := 8<<20/(before+1) - 200
				c.repeat(left/(22<<10), func(int) { c.call(methodWatch, false, large...) })
				c.repeat(left%(22<<10)/6600, func(int) { c.call(methodWatch, false) })
			})
		}
	})
}

// TestCompressedMessages sends messages of a few bytes, which have 15 MiB after decompression.
func TestCompressedMessages(t *testing.T) {
	var compressed bytes.Buffer
	writer := gzip.NewWriter(&compressed)
	_, _ = writer.Write(make([]byte, 15<<20))
	_ = writer.Close()
	size := compressed.Len()
	message := append([]byte{1, byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}, compressed.Bytes()...)
	withstand(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 20, func(c *rawClient) {
			c.repeat(500, func(i int) {
				stream := c.call([]string{methodGet, methodWatch}[i%2], false, "grpc-encoding", "gzip")
				c.note(c.framer.WriteData(stream, true, message))
			})
		})
	})
}
