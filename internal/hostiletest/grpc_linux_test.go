package hostiletest

import (
	"bytes"
	"context"
	"crypto/rand"
	"slices"
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
	methodHealth = grpc_health_v1.Health_Check_FullMethodName
	healthWatch  = grpc_health_v1.Health_Watch_FullMethodName
)

// large is a header of nearly the largest size.
var large = []string{"x-large", strings.Repeat("x", 15<<10)}

// reading begins connections of clients that read, and has each do something.
func reading(ctx context.Context, b *broker, connections int, do func(c *rawClient)) {
	crowd(connections, func(int) {
		c, err := b.open()
		if err != nil {
			return
		}
		keep(ctx, c)
		go c.discard()
		_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
		do(c)
	})
}

// TestIdleConnections opens thousands, which say no more than that they speak HTTP/2.
func TestIdleConnections(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 3000, func(*rawClient) {})
	})
}

// TestHandshakesNeverFinished opens connections and says nothing, or the half of a greeting.
func TestHandshakesNeverFinished(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		crowd(3000, func(i int) {
			conn, err := b.dial([]string{b.grpc, b.http}[i%2])
			if err != nil {
				return
			}
			keep(ctx, conn)
			// The head of a TLS record that has the largest size, and a part of it.
			_, _ = conn.Write(append([]byte{22, 3, 1, 64, 0, 1, 0, 63, 252, 3, 3}, make([]byte, i%3*6000)...))
		})
	})
}

// TestGarbage sends random bytes to both ports.
func TestGarbage(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		crowd(2000, func(i int) {
			address := []string{b.grpc, b.http}[i%2]
			conn, err := b.dial(address)
			if i%4 > 1 {
				conn, err = b.connect(address)
			}
			if err != nil {
				return
			}
			keep(ctx, conn)
			garbage := make([]byte, 64<<10)
			_, _ = rand.Read(garbage)
			if i%8 > 3 {
				garbage = append([]byte(http2.ClientPreface), garbage...)
			}
			_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = conn.Write(garbage)
		})
	})
}

// TestStreamsLeftOpen opens thousands of calls with the largest headers and sends no message.
func TestStreamsLeftOpen(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 20, func(c *rawClient) {
			for i := range 1000 {
				c.call([]string{methodGet, methodWatch, methodHealth, healthWatch}[i%4], false, large...)
			}
		})
	})
}

// TestBareStreamsLeftOpen does so without headers of their own.
func TestBareStreamsLeftOpen(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 20, func(c *rawClient) {
			for i := range 1000 {
				c.call([]string{methodGet, methodWatch, methodHealth, healthWatch}[i%4], false)
			}
		})
	})
}

// TestRapidReset opens calls and takes them back at once.
func TestRapidReset(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		crowd(16, func(int) {
			c, err := b.open()
			if err != nil {
				return
			}
			keep(ctx, c)
			go c.discard()
			during(ctx, 3*time.Second, func() {
				stream := c.ask(methodBatch, largeBatch(), "x-some", strings.Repeat("x", 100))
				c.note(c.framer.WriteRSTStream(stream, http2.ErrCodeCancel))
			})
		})
	})
}

// TestStalledMessages declares the largest size, sends all but the last byte, and stalls.
func TestStalledMessages(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 20, func(c *rawClient) {
			for i := range 1000 {
				stream := c.call([]string{methodGet, methodWatch, methodHealth, healthWatch}[i%4], false)
				c.send(stream, false, make([]byte, 16<<10-1-8), 16<<10)
			}
		})
	})
}

// TestTooMuchOfAMessage sends more to calls than they take.
func TestTooMuchOfAMessage(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 20, func(c *rawClient) {
			for i := range 1000 {
				stream := c.call([]string{methodWatch, healthWatch}[i%2], false)
				c.send(stream, false, []byte{10, 3, 'k', 'e', 'y'}, 5)
				for range 3 {
					c.note(c.framer.WriteData(stream, false, make([]byte, 16<<10)))
				}
			}
		})
	})
}

// TestOversizedMessages declares sizes far beyond the limit, and sends what it can.
func TestOversizedMessages(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 20, func(c *rawClient) {
			for i := range 500 {
				stream := c.call([]string{methodGet, methodWatch}[i%2], false)
				c.send(stream, false, make([]byte, 16<<10-5), 1<<30)
				for range 2 {
					c.note(c.framer.WriteData(stream, false, make([]byte, 16<<10)))
				}
			}
		})
	})
}

// TestOversizedHeaders sends headers of a mebibyte, and some that never end.
func TestOversizedHeaders(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		mebibyte := slices.Repeat([]string{"x-large", strings.Repeat("x", 10<<10)}, 100)
		crowd(200, func(i int) {
			c, err := b.open()
			if err != nil {
				return
			}
			keep(ctx, c)
			go c.discard()
			_ = c.SetWriteDeadline(time.Now().Add(time.Second))
			stream := c.call(methodGet, i%2 == 0, mebibyte...)
			for range 500 {
				if i%2 != 0 || c.err != nil {
					break
				}
				c.note(c.framer.WriteContinuation(stream, false, bytes.Repeat([]byte{0}, 16<<10)))
			}
		})
	})
}

// TestEndlessHeaders begins headers, and goes on with small pieces and empty ones.
func TestEndlessHeaders(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		crowd(500, func(int) {
			c, err := b.open()
			if err != nil {
				return
			}
			keep(ctx, c)
			go c.discard()
			_ = c.SetWriteDeadline(time.Now().Add(time.Second))
			stream := c.call(methodGet, true, "x-large", strings.Repeat("x", 12<<10))
			for range 1000 {
				if c.err != nil {
					break
				}
				c.note(c.framer.WriteContinuation(stream, false, nil))
			}
		})
	})
}

// largeBatch is a request for the largest answer.
func largeBatch() *authmaterialv1.BatchGetAuthDecorationsRequest {
	return &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: slices.Repeat([]string{"key"}, 100)}
}

// TestAnswersNeverRead asks for large answers over and over, and reads none.
func TestAnswersNeverRead(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		crowd(40, func(int) {
			c, err := b.open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
			if err != nil {
				return
			}
			keep(ctx, c)
			c.note(c.framer.WriteWindowUpdate(0, 1<<31-1-65535))
			_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
			for range 3000 {
				if c.err != nil {
					break
				}
				c.ask(methodBatch, largeBatch())
			}
		})
	})
}

// TestAnswersHeldBack asks for large answers, and lets the server send nothing of them.
func TestAnswersHeldBack(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		crowd(40, func(int) {
			c, err := b.open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			if err != nil {
				return
			}
			keep(ctx, c)
			go c.discard()
			_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
			for range 1000 {
				if c.err != nil {
					break
				}
				c.ask(methodBatch, largeBatch())
			}
		})
	})
}

// TestHealthHeldBack does so by calls that need no proof, with the largest headers.
func TestHealthHeldBack(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		crowd(20, func(int) {
			c, err := b.open(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			if err != nil {
				return
			}
			keep(ctx, c)
			c.token = ""
			go c.discard()
			_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
			for range 1000 {
				c.ask(methodHealth, &grpc_health_v1.HealthCheckRequest{}, large...)
			}
		})
	})
}

// TestPingsAndSettings floods the server with what it has to answer, and reads no answer.
func TestPingsAndSettings(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		crowd(50, func(i int) {
			c, err := b.open()
			if err != nil {
				return
			}
			keep(ctx, c)
			_ = c.SetWriteDeadline(time.Now().Add(2 * time.Second))
			for range 20_000 {
				if i%2 == 0 {
					c.note(c.framer.WritePing(false, [8]byte{}))
				} else {
					c.note(c.framer.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(i)}))
				}
				if c.err != nil {
					break
				}
			}
		})
	})
}
