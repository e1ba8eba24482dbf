package storetest

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
)

func newIsEmpty(t *testing.T, f *fixture) {
	s := f.open()
	if len(s.ID()) != 32 {
		t.Errorf("the ID of the store is %q, want 32 characters", s.ID())
	}
	if ids, _, revision := f.changes(s, 0); len(ids) != 0 || revision != 0 {
		t.Errorf("a new store has the credentials %q and the revision %d, want no credentials and the revision 0", ids, revision)
	}
	if _, _, err := s.Credential(t.Context(), "none"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("reading a missing credential returned the error %v, want ErrNotFound", err)
	}
	if _, err := s.Apply(t.Context(), update(&store.Credential{ID: "none", ActiveVersion: 1, Revision: 1})); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the update of a missing credential returned the error %v, want ErrNotFound", err)
	}
	if revision, err := s.Revision(t.Context()); revision != 0 || err != nil {
		t.Errorf("after a refused change the store has the revision %d, want 0; the error is %v", revision, err)
	}
}

func sharesIdentity(t *testing.T, f *fixture) {
	first, second := f.open(), f.open()
	if first.ID() != second.ID() {
		t.Errorf("two replicas with the same store read the store IDs %q and %q, want equal IDs", first.ID(), second.ID())
	}
	parts := []secret.Text{secret.New("a"), secret.New("b")}
	if !bytes.Equal(first.Fingerprint(parts...), second.Fingerprint(parts...)) {
		t.Error("two replicas compute different fingerprints")
	}
}

func needsKey(t *testing.T, f *fixture) {
	f.apply(f.open(), NewCredential("one"))
	if _, err := f.tryOpen(fleetkeys.RandomRing()); !errors.Is(err, store.ErrUnknownKey) {
		t.Errorf("opening the store with another key returned the error %v, want ErrUnknownKey", err)
	}
	if _, err := f.tryOpen(nil); err == nil {
		t.Error("the store could be opened without a key")
	}
}

func opensAtOnce(t *testing.T, f *fixture) {
	for range 5 { // without a lock, this test would not fail each time
		newFixture(t, f.create(t), f.keys).opensAtOnce()
	}
}

func (f *fixture) opensAtOnce() {
	t := f.t
	t.Helper()
	const replicas = 8
	stores, drivers := make([]*store.Store, replicas), make([]store.Driver, replicas)
	for i := range drivers {
		drivers[i] = f.driver()
	}
	errs := together(replicas, func(i int) (err error) {
		stores[i], err = store.Open(t.Context(), drivers[i], store.Options{Keys: f.keys})
		return err
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, s := range stores {
		if s.ID() != stores[0].ID() {
			t.Errorf("replicas that opened the store at the same time read the store IDs %q and %q, want equal IDs", s.ID(), stores[0].ID())
		}
	}
}

func fingerprints(t *testing.T, f *fixture) {
	s := f.open()
	a, b, ab, none := secret.New("a"), secret.New("b"), secret.New("ab"), secret.New("")
	seen := map[string]bool{}
	for _, parts := range [][]secret.Text{{a, b}, {ab}, {ab, none}, {none, ab}, {b, a}, {}} {
		seen[string(s.Fingerprint(parts...))] = true
	}
	if len(seen) != 6 {
		t.Errorf("6 different lists of parts have %d different fingerprints, want 6", len(seen))
	}
	if !bytes.Equal(f.open().Fingerprint(a), s.Fingerprint(a)) {
		t.Error("the fingerprint changed when the store was opened again")
	}
}

func detectsReplaced(t *testing.T, f *fixture) {
	s := f.open()
	f.apply(s, NewCredential("one"))
	f.exec(`UPDATE store SET store_id = 'another'`)
	_, applied := s.Apply(t.Context(), NewCredential("two"))
	_, polled := s.Revision(t.Context())
	_, read := s.Changes(t.Context(), 0, func(*store.Row) error { return nil })
	for _, err := range []error{applied, polled, read} {
		if !errors.Is(err, store.ErrReplaced) {
			t.Errorf("a call after the database was replaced returned the error %v, want ErrReplaced", err)
		}
	}
}

func cancelled(t *testing.T, f *fixture) {
	s := f.open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, applied := s.Apply(ctx, NewCredential("one"))
	_, polled := s.Revision(ctx)
	_, read := s.Changes(ctx, 0, func(*store.Row) error { return nil })
	for _, err := range []error{applied, polled, read} {
		if !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a cancelled call returned the error %v, want context.Canceled", err)
		}
	}
	f.apply(s, NewCredential("one"))
}
