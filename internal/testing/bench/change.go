package main

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

type changes struct {
	mu   sync.Mutex
	next chan struct{} // closed when there is a new state for watchers
}

func newChanges() *changes { return &changes{next: make(chan struct{})} }

func (c *changes) wait() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next
}

func (c *changes) change() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.next)
	c.next = make(chan struct{})
	return nil
}

// WatchAuthDecorations sends d.state when a watch begins, and again at each change.
func (d *doNothing) WatchAuthDecorations(_ *authmaterialv1.WatchAuthDecorationsRequest, stream grpc.ServerStreamingServer[authmaterialv1.WatchAuthDecorationsResponse]) error {
	for {
		next := d.changes.wait()
		if err := stream.Send(d.state); err != nil {
			return err
		}
		select {
		case <-next:
		case <-stream.Context().Done():
			return nil
		}
	}
}

// serveChanges runs an HTTP server until ctx ends, and returns its URL. Each request to the server
// changes the state that watchers receive.
func serveChanges(ctx context.Context, change func() error) (url string, err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := change(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
	return "http://" + listener.Addr().String(), nil
}
