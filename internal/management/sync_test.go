package management_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/management"
	"github.com/authmaterial/broker/internal/store"
)

// TestHungStore checks that a reload and Shadowed do not wait for a database that does not answer.
func TestHungStore(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + acme))
	r.create("one", "first")
	reached := make(chan struct{})
	r.store.fail(func(ctx context.Context, _ string) error {
		close(reached)
		<-ctx.Done()
		return store.ErrUnavailable
	})
	ctx, cancel := context.WithCancel(t.Context())
	synced := make(chan error, 1)
	go func() { synced <- r.Sync(ctx) }()
	<-reached
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.reload(w.parse(grants + acme))
		r.Shadowed(1)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("a reload waits for the database")
	}
	// A second call of Sync must wait for the first one, but only until its own context ends.
	short, end := context.WithTimeout(t.Context(), time.Millisecond)
	defer end()
	if err := r.Sync(short); err == nil {
		t.Error("a second call of Sync does not wait for the first one")
	}
	cancel()
	if err := <-synced; err == nil {
		t.Error("the store answered")
	}
	<-done
}

// TestReloadWhileTheStoreIsRead checks that credentials which are read during a reload are served
// according to the new configuration.
func TestReloadWhileTheStoreIsRead(t *testing.T) {
	w := newWorld(t)
	r, other := w.replica(w.parse(grants+acme)), w.replica(w.parse(grants+acme))
	one := newAcme("one", "first")
	one.AllowedHosts = []string{"eu.acme.test"}
	other.created(one)
	r.store.fail(func(_ context.Context, method string) error {
		if method == "Changes" {
			r.reload(w.parseAll(grants + acme + "\nstore: {url: \"sqlite://" + w.path + "\", keys: [{env: KEY}]}\n"))
		}
		return nil
	})
	r.sync()
	if got := r.served.get("one").AllowedHosts; !slices.Equal(got, []string{"api.acme.test"}) {
		t.Errorf("the material may be sent to %v", got)
	}
}

// TestOlderDatabase checks what happens if an older state of the database is restored between the
// two queries of Sync.
func TestOlderDatabase(t *testing.T) {
	older := newWorld(t)
	older.replica(older.parse(grants+acme)).create("older", "x")
	w := newWorld(t)
	w.key = older.key
	r, other := w.replica(w.parse(grants+acme)), w.replica(w.parse(grants+acme))
	r.create("one", "x")
	r.create("two", "x")
	other.create("three", "x")
	restored := older.replica(older.parse(grants + acme))
	r.store.fail(func(_ context.Context, method string) error {
		if method == "Changes" {
			r.store.Store = restored.store.Store
		}
		return nil
	})
	r.sync()
	page, _, err := r.List(t.Context(), r.admin(), management.Selection{})
	if err != nil || len(page) != 1 || page[0].ID != "older" {
		t.Errorf("the list has %d credentials, want only the restored one; the error is %v", len(page), err)
	}
	for id, want := range map[string]bool{"older": true, "one": false, "two": false, "three": false} {
		if got := r.served.get(id) != nil; got != want {
			t.Errorf("the credential %s is served: %v, want %v", id, got, want)
		}
	}
}

// TestOutageIsLogged checks that the log has each reason of an outage once, and the end of the outage.
func TestOutageIsLogged(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + acme))
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { r.Run(ctx) })
	attempt := func(reason string) {
		t.Helper()
		r.store.fail(func(context.Context, string) error {
			if reason == "" {
				return nil
			}
			return fmt.Errorf("%w: %s", store.ErrUnavailable, reason)
		})
		const timers = 4 // the timers of four loops: they read the store, save uses, purge credentials, and warn of secrets that expire
		for _, duration := range []time.Duration{0, 5 * time.Second} {
			w.clock.Advance(duration)
			if err := w.clock.BlockUntilContext(ctx, timers); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantLines := func(failures, ends int) {
		t.Helper()
		if got := w.log.Count("level=ERROR", "cannot be read"); got != failures {
			t.Errorf("the log has %d lines about failures, want %d", got, failures)
		}
		if got := w.log.Count("can be read again"); got != ends {
			t.Errorf("the log has %d lines about the end of an outage, want %d", got, ends)
		}
	}
	attempt("")
	attempt("refused by port 4711")
	attempt("refused by port 42")
	wantLines(1, 0)
	attempt("no answer")
	attempt("refused by port 1")
	wantLines(2, 0)
	attempt("")
	wantLines(2, 1)
	attempt("no answer")
	wantLines(3, 1)
}

// TestDamagedRow checks that a row which somebody has damaged does not stop the broker.
func TestDamagedRow(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + acme))
	r.create("one", "first")
	r.create("two", "second")
	_, one := r.addVersion(management.NewVersion{ETag: r.one().ETag})
	if _, _, err := r.Activate(t.Context(), r.admin(), "one", one.ETag, 2, []string{"token:x"}); err != nil {
		t.Fatal(err)
	}
	database, err := sql.Open("sqlite", "file:"+w.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = database.Close() }()
	if _, err := database.ExecContext(t.Context(), `UPDATE credentials SET active_version = 9 WHERE id = 'one'`); err != nil {
		t.Fatal(err)
	}
	next := w.replica(w.parse(grants + acme))
	if next.served.get("one") != nil || next.served.get("two") == nil {
		t.Error("the damaged credential is served, or the undamaged credential is not")
	}
	if n := w.log.Count("credential_id=one"); n != 1 {
		t.Errorf("%d lines of the log name the damaged credential", n)
	}
}

// TestBeforeTheStoreIsRead checks that no credential is reported as missing before the store has
// been read.
func TestBeforeTheStoreIsRead(t *testing.T) {
	w := newWorld(t)
	w.replica(w.parse(grants+acme)).create("one", "first")
	r := w.unopened(w.parse(grants + acme + "credentials: [{id: board, provider: acme, auth_method: key, values: {token: {value: x}}}]\n"))
	_, err := r.Get(t.Context(), r.admin(), "one")
	wantReason(t, err, "STORE_UNAVAILABLE")
	_, _, err = r.List(t.Context(), r.admin(), management.Selection{})
	wantReason(t, err, "STORE_UNAVAILABLE")
	if _, err := r.Get(t.Context(), r.admin(), "board"); err != nil {
		t.Errorf("reading the declared credential returned the error %v", err)
	}
	if err := r.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.sync()
	r.one()
}

// TestGrantsByProviderBeforeTheStoreIsRead checks that a caller whose grant names a provider is not
// denied while the provider of a credential is still unknown.
func TestGrantsByProviderBeforeTheStoreIsRead(t *testing.T) {
	const byProvider = `
  - {callers: ["token:ops"], providers: [acme], actions: [manage]}
  - {callers: ["token:ops"], credentials: ["none"], actions: [use]}
`
	w := newWorld(t)
	w.replica(w.parse(grants+acme)).create("one", "first")
	r := w.unopened(w.parse(strings.TrimRight(grants, "\n") + byProvider + acme +
		"credentials: [{id: board, provider: pendo, auth_method: api_key, values: {api_key: {value: x}}}]\n"))
	want := func(caller, id string, reason fault.Reason) {
		t.Helper()
		_, err := r.Get(t.Context(), r.as(caller), id)
		wantReason(t, err, reason)
		_, err = r.Update(t.Context(), r.as(caller), id, "etag", management.Update{Mask: []string{"labels"}})
		wantReason(t, err, reason)
	}
	want("ops", "one", fault.StoreUnavailable)
	if record := r.audit.last(); record.Outcome != string(fault.StoreUnavailable) {
		t.Errorf("the audit record of a change has the outcome %s", record.Outcome)
	}
	want("other", "one", fault.AccessDenied)
	want("ops", "board", fault.AccessDenied)
	_, err := r.Create(t.Context(), r.as("ops"), newAcme("two", "x"))
	wantReason(t, err, fault.AccessDenied)
	r.open()
	if _, err := r.Get(t.Context(), r.as("ops"), "one"); err != nil {
		t.Errorf("after the store was read, the error is %v", err)
	}
	want("ops", "missing", fault.AccessDenied)
}

// TestChangeThatCannotBeReadBack checks what a caller and the audit log learn about a change that is
// stored, but that this replica does not serve yet.
func TestChangeThatCannotBeReadBack(t *testing.T) {
	w := newWorld(t)
	r, other := w.replica(w.parse(grants+acme)), w.replica(w.parse(grants+acme))
	r.store.fail(func(_ context.Context, method string) error {
		if method == "Apply" {
			return nil
		}
		return store.ErrUnavailable
	})
	_, err := r.Create(t.Context(), r.admin(), newAcme("one", "first"))
	wantReason(t, err, "STORE_UNAVAILABLE")
	if !strings.Contains(err.Error(), "the change is stored") {
		t.Errorf("the error does not tell that the change is stored: %v", err)
	}
	if record := r.audit.last(); record.Outcome != "OK" {
		t.Errorf("the audit record of the stored change has the outcome %s", record.Outcome)
	}
	other.sync()
	other.one()
}

// TestReplacedStore checks what callers learn about a database that was deleted or replaced.
func TestReplacedStore(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + acme))
	r.create("one", "first")
	r.store.fail(func(context.Context, string) error { return store.ErrReplaced })
	_, err := r.Create(t.Context(), r.admin(), newAcme("two", "first"))
	wantReason(t, err, "STORE_UNAVAILABLE")
	if !strings.Contains(err.Error(), "restart") {
		t.Errorf("the error does not say that the broker must be restarted: %v", err)
	}
}
