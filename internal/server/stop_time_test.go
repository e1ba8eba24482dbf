package server_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/server"
)

// stopIn stops the server while a call waits for its token, and returns how long Stop took, and the
// error of the call.
func (b *scene) stopIn(ctx context.Context) (took time.Duration, err error) {
	b.Helper()
	answer := make(chan error, 1)
	go func() {
		_, err := b.get()
		answer <- err
	}()
	if err := b.sim.SendPulse.AwaitTokenRequests(b.Context(), 1); err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	b.server.Stop(ctx)
	return time.Since(began), <-answer
}

func TestStopWaitsForCalls(t *testing.T) {
	const held = 9 * time.Second
	inScene(t, func(b *scene) {
		time.AfterFunc(held, b.sim.SendPulse.HoldTokenAnswers())
		if took, err := b.stopIn(b.Context()); took != held || err != nil {
			b.Errorf("Stop took %v and the call ended with %v, want %v and no error", took, err, held)
		}
	})
}

func TestStopWaitsNoLongerThanItsContext(t *testing.T) {
	const patience = 3 * time.Second
	inScene(t, func(b *scene) {
		b.sim.SendPulse.FailTokenRequests(simulator.Hang())
		ctx, cancel := context.WithTimeout(b.Context(), patience)
		defer cancel()
		took, err := b.stopIn(ctx)
		if took != patience {
			b.Errorf("Stop took %v, want %v", took, patience)
		}
		harness{T: b.T}.wantError(err, codes.Unavailable, "SERVER_STOPPING", "the broker is stopping")
	})
}

// hangingLog is a log handler that hangs at records about calls.
type hangingLog struct {
	slog.Handler
	told  chan struct{} // channel that receives an element for each record about a call
	hangs chan struct{} // Handle hangs until this channel is closed
}

func (l hangingLog) Handle(ctx context.Context, record slog.Record) error {
	if record.Message == "call" {
		l.told <- struct{}{}
		<-l.hangs
	}
	return l.Handler.Handle(ctx, record)
}

func TestStopLeavesCallsThatHang(t *testing.T) {
	log := hangingLog{told: make(chan struct{}, 1), hangs: make(chan struct{})}
	h := serve(t, func(o *server.Options) {
		log.Handler = o.Logger.Handler()
		o.Logger = slog.New(log)
	})
	t.Cleanup(func() { close(log.hangs) }) // this function runs before the clean-up of the server, which waits for the hanging call
	go func() { _ = h.get("unknown") }()
	<-log.told
	stopping, now := context.WithCancel(t.Context())
	now()
	go h.server.Stop(stopping)
	select {
	case <-h.stopped:
	case <-time.After(patience):
		t.Fatal("the server does not stop while a call hangs")
	}
}
