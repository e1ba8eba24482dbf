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

// caller makes good calls, one after the other, over its own connection.
type caller struct {
	b        *broker
	conn     *grpc.ClientConn
	answered atomic.Int64
	failure  error // once done is closed
	stop     context.CancelFunc
	done     chan struct{}
}

// newCaller returns a caller that has made a call.
func (b *broker) newCaller() *caller {
	b.Helper()
	conn, err := grpc.NewClient("passthrough:///"+b.grpc, grpc.WithTransportCredentials(credentials.NewTLS(b.settings("h2"))))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	c := &caller{b: b, conn: conn, done: make(chan struct{})}
	if err := c.get(b.Context()); err != nil {
		b.Fatalf("a good caller before anything happened: %v", err)
	}
	return c
}

// get asks for the key.
func (c *caller) get(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.b.token)
	_, err := authmaterialv1.NewBrokerServiceClient(c.conn).GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: "key"})
	return err
}

// begin makes calls until end is called, or until one fails.
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

// end stops the calls, and checks that all were answered.
func (c *caller) end(t *testing.T) {
	t.Helper()
	c.stop()
	<-c.done
	if c.failure != nil {
		t.Errorf("after %d answers a good call fails: %v", c.answered.Load(), c.failure)
	}
}
