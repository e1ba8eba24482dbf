package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/store/storetest"
	"github.com/authmaterial/broker/internal/testing/postgrestest"
)

// openStore opens a store in a new database of the server.
func openStore(t *testing.T, server *postgrestest.Server) *store.Store {
	t.Helper()
	driver, err := open(server.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), driver, store.Options{Keys: fleetkeys.RandomRing()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestServerRestarts(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	s := openStore(t, server)
	if _, err := s.Apply(t.Context(), storetest.NewCredential("before")); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	_, applied := s.Apply(t.Context(), storetest.NewCredential("during"))
	_, polled := s.Revision(t.Context())
	for _, err := range []error{applied, polled} {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a call while the server was down returned the error %v, want ErrUnavailable", err)
		}
	}
	server.Restart()
	// The connections in the pool are broken now, but no call may fail because of them.
	for _, id := range []string{"after", "again"} {
		if _, err := s.Apply(t.Context(), storetest.NewCredential(id)); err != nil {
			t.Errorf("a change after the restart of the server failed: %v", err)
		}
	}
	var ids []string
	_, err := s.Changes(t.Context(), 0, func(row *store.Row) error {
		ids = append(ids, row.Credential.ID)
		return nil
	})
	if got := strings.Join(ids, " "); got != "before after again" || err != nil {
		t.Errorf("the store contains the credentials %q, want those created while the server ran; the error is %v", got, err)
	}
}

func TestServerDoesNotAnswer(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	s := openStore(t, server)
	if _, err := s.Apply(t.Context(), storetest.NewCredential("before")); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	errs := make(chan error)
	calls := map[string]func() error{
		"Apply":      func() error { _, err := s.Apply(t.Context(), storetest.NewCredential("during")); return err },
		"Revision":   func() error { _, err := s.Revision(t.Context()); return err },
		"Changes":    func() error { _, err := s.Changes(t.Context(), 0, nil); return err },
		"Credential": func() error { _, _, err := s.Credential(t.Context(), "before"); return err },
	}
	for _, call := range calls {
		go func() { errs <- call() }()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Revision(ctx); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a call whose caller did not wait for a suspended server returned the error %v, want ErrUnavailable", err)
	}
	for range calls {
		select {
		case err := <-errs:
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("a call of a suspended server returned the error %v, want ErrUnavailable", err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("a call of a suspended server does not end")
		}
	}
	server.Continue()
	if _, err := s.Apply(t.Context(), storetest.NewCredential("after")); err != nil {
		t.Errorf("after the server was resumed, a change failed: %v", err)
	}
}

// TestLocked stops a replica in the middle of a change.
func TestLocked(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	address := server.Database(t)
	driver, err := open(address)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), driver, store.Options{Keys: fleetkeys.RandomRing()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	conn := server.Connect(t, address)
	if _, err := conn.Exec(t.Context(), `BEGIN; UPDATE store SET revision = revision + 1`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), storetest.NewCredential("one")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("while another replica holds the lock, Apply returned the error %v, want ErrUnavailable", err)
	}
	if revision, err := s.Revision(t.Context()); revision != 0 || err != nil {
		t.Errorf("while another replica holds the lock, Revision returned %d and the error %v, want 0", revision, err)
	}
	if _, err := conn.Exec(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), storetest.NewCredential("one")); err != nil {
		t.Errorf("a change after the lock was released failed: %v", err)
	}
}

// TestRestoreSparesOthers restores a backup while another replica is storing the first event of an
// empty store.
func TestRestoreSparesOthers(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	keys := fleetkeys.RandomRing()
	var drivers []store.Driver
	var backup bytes.Buffer
	address := server.Database(t)
	for range 2 {
		driver, err := open(address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = driver.Close() })
		drivers = append(drivers, driver)
	}
	s, err := store.Open(t.Context(), drivers[0], store.Options{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	conn := server.Connect(t, address)
	_, err = conn.Exec(t.Context(), `BEGIN; UPDATE store SET revision = 1; INSERT INTO events VALUES (1, 'one', 0, '{}')`)
	if err != nil {
		t.Fatal(err)
	}
	restored := make(chan error, 1)
	go func() { restored <- store.Restore(t.Context(), drivers[1], store.Options{Keys: keys}, &backup) }()
	commitAwaited(t, conn)
	if err := <-restored; !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("Restore returned %v", err)
	}
	if events, err := s.Events(t.Context(), "one", 0, 1); len(events) != 1 || err != nil {
		t.Errorf("after Restore, the store has %d events, want 1; the error is %v", len(events), err)
	}
}

// commitAwaited commits the transaction of a connection as soon as another transaction waits for one
// of its locks.
func commitAwaited(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	for waiting := 0; waiting == 0; {
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE NOT granted`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
}

// TestIsolation stores a change that waits for another change, in a database whose transactions are
// serializable by default. With that isolation level, PostgreSQL would refuse the change.
func TestIsolation(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t, "-c", "default_transaction_isolation=serializable")
	address := server.Database(t)
	driver, err := open(address)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), driver, store.Options{Keys: fleetkeys.RandomRing()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	conn := server.Connect(t, address)
	if _, err := conn.Exec(t.Context(), `BEGIN; UPDATE store SET revision = revision + 1`); err != nil {
		t.Fatal(err)
	}
	applied := make(chan error, 1)
	go func() { _, err := s.Apply(t.Context(), storetest.NewCredential("one")); applied <- err }()
	commitAwaited(t, conn)
	if err := <-applied; err != nil {
		t.Errorf("a change that waited for another change failed: %v", err)
	}
}

// TestCrash also kills and restarts the database server.
func TestCrash(t *testing.T) {
	t.Parallel()
	var server *postgrestest.Server
	storetest.Crash(t, func(t *testing.T) string {
		// If the driver did not override these settings, a crash of the server would lose
		// acknowledged changes.
		server = postgrestest.Start(t, "-c", "synchronous_commit=off", "-c", "wal_writer_delay=10s")
		return server.Database(t)
	}, open, func() { server.Restart() })
}
