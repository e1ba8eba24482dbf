package hostiletest

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// TestIdleConnections opens thousands of connections, and sends only the HTTP/2 preface.
func TestIdleConnections(t *testing.T) {
	withstandUnproved(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 3000, func(*rawClient) {})
	})
}

// TestHandshakesNeverFinished opens connections, and sends nothing or half of a TLS ClientHello.
func TestHandshakesNeverFinished(t *testing.T) {
	withstandUnproved(t, func(ctx context.Context, b *broker) {
		crowd(3000, func(i int) {
			conn, err := b.dial([]string{b.grpc, b.http}[i%2])
			if err != nil {
				return
			}
			keep(ctx, conn)
			// The client sends the header of a TLS record of the largest size, and a part of its
			// content.
			_, _ = conn.Write(append([]byte{22, 3, 1, 64, 0, 1, 0, 63, 252, 3, 3}, make([]byte, i%3*6000)...))
		})
	})
}

func TestGarbage(t *testing.T) {
	withstandUnproved(t, func(ctx context.Context, b *broker) {
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

// TestPingsAndSettings floods the server with HTTP/2 frames that it must answer, and does not read
// the answers.
func TestPingsAndSettings(t *testing.T) {
	withstandUnproved(t, func(ctx context.Context, b *broker) {
		clients(ctx, b, 50, 2*time.Second, func(i int, c *rawClient) {
			c.repeat(20_000, func(int) {
				if i%2 == 0 {
					c.note(c.framer.WritePing(false, [8]byte{}))
				} else {
					c.note(c.framer.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(i)}))
				}
			})
		})
	})
}
