package postgres_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/store/storetest"
	"github.com/authmaterial/broker/internal/testing/postgrestest"
)

func TestListen(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	s := openStore(t, server)
	ctx, cancel := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 100), make(chan struct{})
	go func() {
		defer close(ended)
		s.Listen(ctx, func() { changed <- struct{}{} })
	}()
	want := func(when string) {
		t.Helper()
		select {
		case <-changed:
		case <-time.After(20 * time.Second):
			t.Fatalf("Listen did not report a change %s", when)
		}
	}
	want("when it begins to listen")
	if _, err := s.Apply(t.Context(), storetest.NewCredential("one")); err != nil {
		t.Fatal(err)
	}
	want("after a change")
	if _, err := s.Apply(t.Context(), storetest.NewCredential("one")); err == nil {
		t.Fatal("a credential was created twice")
	}
	if len(changed) != 0 {
		t.Error("Listen reported a change that was refused")
	}
	server.Restart()
	want("when it listens again")
	if _, err := s.Apply(t.Context(), storetest.NewCredential("two")); err != nil {
		t.Fatal(err)
	}
	want("after a change that follows a restart")
	cancel()
	<-ended
}

// TestListenLogsOnce checks that an outage of the database does not fill the log.
func TestListenLogsOnce(t *testing.T) {
	t.Parallel()
	server, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for range 4 {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	driver, err := open("postgres://" + server.Addr().String() + "/db?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	driver.(store.Notifier).Listen(ctx, slog.New(slog.NewTextHandler(&log, nil)), func() {})
	_ = server.Close()
	if lines := strings.Count(log.String(), "\n"); lines != 1 {
		t.Errorf("failed attempts to connect wrote %d lines, want 1:\n%s", lines, &log)
	}
}
