package hostiletest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// `large` is a request header of almost the largest allowed size.
var large = []string{"x-large", strings.Repeat("x", 15<<10)}

// TestOversizedHeaders sends headers of 1 MiB, and headers that never end.
func TestOversizedHeaders(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		mebibyte := slices.Repeat([]string{"x-large", strings.Repeat("x", 10<<10)}, 100)
		clients(ctx, b, 200, time.Second, func(i int, c *rawClient) {
			go c.discard()
			stream := c.call(methodGet, i%2 == 0, mebibyte...)
			if i%2 == 0 {
				c.repeat(500, func(int) { c.note(c.framer.WriteContinuation(stream, false, make([]byte, 16<<10))) })
			}
		})
	})
}

// TestEndlessHeaders begins the headers of a call, and continues them with empty frames without an
// end.
func TestEndlessHeaders(t *testing.T) {
	withstand(t, func(ctx context.Context, b *broker) {
		clients(ctx, b, 500, time.Second, func(_ int, c *rawClient) {
			go c.discard()
			stream := c.call(methodGet, true, "x-large", strings.Repeat("x", 12<<10))
			c.repeat(1000, func(int) { c.note(c.framer.WriteContinuation(stream, false, nil)) })
		})
	})
}

// TestHeadersByteByByte sends most of a HEADERS frame at once, and further bytes one by one without
// finishing the frame.
func TestHeadersByteByByte(t *testing.T) {
	withstandUnproved(t, func(ctx context.Context, b *broker) {
		clients(ctx, b, 900, 5*time.Second, func(_ int, c *rawClient) {
			go c.discard()
			const length = 12 << 10
			_, err := c.Write([]byte{0, length >> 8, 0, byte(http2.FrameHeaders), byte(http2.FlagHeadersEndHeaders), 0, 0, 0, 1})
			c.note(err)
			_, err = c.Write(make([]byte, length-10))
			c.note(err)
			c.repeat(9, func(int) {
				_, err := c.Write([]byte{0})
				c.note(err)
				<-time.After(10 * time.Millisecond)
			})
		})
	})
}

func TestManyHeaders(t *testing.T) {
	headers := []string{"grpc-timeout", "99999999H"}
	for i := range 400 {
		headers = append(headers, fmt.Sprintf("%c%c", 'a'+i%26, 'a'+i/26), "")
	}
	withstand(t, func(ctx context.Context, b *broker) {
		reading(ctx, b, 20, func(c *rawClient) {
			c.repeat(1000, func(i int) { c.call(leaving[i%len(leaving)], false, headers...) })
		})
	})
}
