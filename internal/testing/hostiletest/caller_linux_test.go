package hostiletest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// caller is a client that does not attack: it makes one valid call after another over its own
// connection.
type caller struct {
	b        *broker
	conn     *grpc.ClientConn
	answered atomic.Int64
	failure  error // the error of the failed call; may be read only after `done` is closed
	stop     context.CancelFunc
	done     chan struct{}
}

// newCaller returns a caller that has already made one successful call.
func (b *broker) newCaller() *caller {
	b.Helper()
	c := b.unusedCaller()
	if err := c.get(b.Context()); err != nil {
		b.Fatalf("a call after the attack failed: %v", err)
	}
	return c
}

// firstCaller returns such a caller before an attack. If its connection fails, the call is repeated:
// attacks of other tests can take so much CPU time that this process does not finish a handshake within
// the broker's time limit of 5 s.
func (b *broker) firstCaller() *caller {
	b.Helper()
	c := b.unusedCaller()
	var failures []error
	for range 3 {
		err := c.get(b.Context(), grpc.WaitForReady(true))
		if err == nil {
			return c
		}
		failures = append(failures, err)
	}
	b.Fatalf("the calls before the attack failed: %v", failures)
	return nil
}

func (b *broker) unusedCaller() *caller {
	b.Helper()
	conn, err := grpc.NewClient("passthrough:///"+b.grpc, grpc.WithTransportCredentials(credentials.NewTLS(b.settings("h2"))))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return &caller{b: b, conn: conn, done: make(chan struct{})}
}

func (c *caller) get(ctx context.Context, options ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.b.token)
	_, err := authmaterialv1.NewBrokerServiceClient(c.conn).GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: "key"}, options...)
	return err
}

// `begin` makes calls until `end` is called or a call fails.
func (c *caller) begin() {
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	go func() {
		defer close(c.done)
		pause := time.NewTicker(2 * time.Millisecond)
		defer pause.Stop()
		for ctx.Err() == nil {
			if err := c.get(context.WithoutCancel(ctx)); err != nil {
				c.failure = err
				return
			}
			c.answered.Add(1)
			<-pause.C
		}
	}()
}

// `end` stops the calls, and checks that the broker answered all of them.
func (c *caller) end(t *testing.T) {
	t.Helper()
	c.stop()
	<-c.done
	if c.failure != nil {
		t.Errorf("a call failed during the attack, after %d answered calls: %v", c.answered.Load(), c.failure)
	}
}
