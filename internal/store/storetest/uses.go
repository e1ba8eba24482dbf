package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/internal/store"
)

func uses(t *testing.T, f *fixture) {
	s := f.open()
	minute := start.Truncate(time.Minute)
	record := func(all ...store.Use) {
		t.Helper()
		if err := f.open().RecordUses(t.Context(), all); err != nil {
			t.Fatal(err)
		}
	}
	record(
		store.Use{CredentialID: "two", Caller: "bob", Version: 1, Minute: start, Count: 1},
		store.Use{CredentialID: "one", Caller: "alice", Version: 1, Minute: start, Count: 3},
		store.Use{CredentialID: "one", Caller: "alice", Version: 2, Minute: start.Add(time.Minute), Count: 1},
	)
	record(store.Use{CredentialID: "one", Caller: "alice", Version: 1, Minute: start.Add(time.Hour), Count: 2})
	record(store.Use{CredentialID: "one", Caller: "alice", Version: 1, Minute: start.Add(-time.Hour), Count: 1})
	got, err := s.Uses(t.Context(), "one")
	want := []*store.Use{
		{CredentialID: "one", Caller: "alice", Version: 1, Minute: minute.Add(time.Hour), Count: 6},
		{CredentialID: "one", Caller: "alice", Version: 2, Minute: minute.Add(time.Minute), Count: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("the stored uses are wrong (-want +got):\n%s%v", diff, err)
	}
	last, err := s.LastUses(t.Context(), []string{"one", "two", "none"})
	if diff := cmp.Diff(map[string]time.Time{"one": minute.Add(time.Hour), "two": minute}, last); diff != "" || err != nil {
		t.Errorf("the last uses are wrong (-want +got):\n%s%v", diff, err)
	}
	if last, err := s.LastUses(t.Context(), nil); len(last) != 0 || err != nil {
		t.Errorf("the last uses of no credentials are %v, want none; the error is %v", last, err)
	}
	if revision, err := s.Revision(t.Context()); revision != 0 || err != nil {
		t.Errorf("after recording uses, the store has the revision %d, want 0; the error is %v", revision, err)
	}
}

// limitsUses records the uses of 150 callers at three replicas at the same time.
func limitsUses(t *testing.T, f *fixture) {
	var all []store.Use
	for i := range 150 {
		all = append(all,
			store.Use{CredentialID: "one", Caller: name(i), Version: 1, Minute: start.Add(time.Duration(i) * time.Minute), Count: 1},
			store.Use{CredentialID: name(i), Caller: "alice", Version: 1, Minute: start, Count: 1})
	}
	replicas := []*store.Store{f.open(), f.open(), f.open()}
	if err := errors.Join(together(3, func(i int) error { return replicas[i].RecordUses(f.context(), all) })...); err != nil {
		t.Fatal(err)
	}
	got, err := replicas[0].Uses(t.Context(), "one")
	if len(got) != store.UseLimit || err != nil || got[0].Caller != name(149) || got[99].Caller != name(50) || got[0].Count != 3 {
		t.Errorf("the store returned %d uses of one credential, want the latest 100; the error is %v", len(got), err)
	}
	if stored := f.count(`SELECT count(*) FROM uses WHERE credential_id = 'one'`); stored != store.UseLimit {
		t.Errorf("the database contains %d uses of one credential, want 100", stored)
	}
	if got, err := replicas[0].Uses(t.Context(), name(0)); len(got) != 1 || err != nil || got[0].Count != 3 {
		t.Errorf("a credential used at three replicas has the uses %+v, want one use with the count 3; the error is %v", got, err)
	}
}
