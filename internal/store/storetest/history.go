package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/internal/store"
)

func events(t *testing.T, f *fixture) {
	s := f.open()
	var want []*store.Event
	for i := range 5 {
		f.clock.Advance(time.Second)
		event := &store.Event{
			CredentialID: "one", Caller: "alice", Operation: fmt.Sprint("operation ", i), Outcome: "OK", Version: i,
			Fields: []string{"a", "b"}, Details: map[string]string{"http_status": "200"},
		}
		if err := s.Record(t.Context(), event, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Record(t.Context(), &store.Event{CredentialID: "another"}, nil); err != nil {
			t.Fatal(err)
		}
		event.Time, event.Number = start.Add(time.Duration(i+1)*time.Second), int64(2*i+1)
		want = append([]*store.Event{event}, want...)
	}
	first, err := s.Events(t.Context(), "one", 0, 3)
	if diff := cmp.Diff(want[:3], first); diff != "" || err != nil {
		t.Fatalf("the first page of events is wrong (-want +got):\n%s%v", diff, err)
	}
	second, err := s.Events(t.Context(), "one", first[2].Number, 3)
	if diff := cmp.Diff(want[3:], second); diff != "" || err != nil {
		t.Errorf("the second page of events is wrong (-want +got):\n%s%v", diff, err)
	}
}

func limitsEvents(t *testing.T, f *fixture) {
	s := f.open()
	f.apply(s, NewCredential("one"))
	f.apply(s, NewCredential("two"))
	for range 1001 {
		if err := s.Record(t.Context(), &store.Event{CredentialID: "one", Operation: "later"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := s.Events(t.Context(), "one", 0, 2000)
	if len(kept) != 1000 || err != nil || kept[999].Operation != "later" {
		t.Errorf("the store kept %d events of the first credential, want the latest 1000; the error is %v", len(kept), err)
	}
	if others, err := s.Events(t.Context(), "two", 0, 10); len(others) != 1 || err != nil {
		t.Errorf("the store kept %d events of the second credential, want 1; the error is %v", len(others), err)
	}
}

func verification(t *testing.T, f *fixture) {
	s := f.open()
	created := f.apply(s, NewCredential("one"))
	result := &store.Verification{Outcome: "REFUSED", Explanation: "the provider refused it", HTTPStatus: 401, Time: start}
	event := &store.Event{CredentialID: "one", Operation: "VerifyCredential", Version: 1}
	if err := s.Record(t.Context(), event, result); err != nil {
		t.Fatal(err)
	}
	ids, rows, _ := f.changes(s, created)
	if len(ids) != 1 || cmp.Diff(result, rows["one"].Active.Verification) != "" {
		t.Fatalf("after the verification the changed credentials are %q, or the stored verification is wrong", ids)
	}
	if got := rows["one"].Credential.Revision; got != created {
		t.Errorf("the verification changed the revision of the credential from %d to %d", created, got)
	}
	event.Version = 2
	if err := s.Record(t.Context(), event, result); !errors.Is(err, store.ErrVersionNotFound) {
		t.Errorf("recording the verification of a missing version returned the error %v, want ErrVersionNotFound", err)
	}
}

func requests(t *testing.T, f *fixture) {
	s := f.open()
	key := store.RequestKey{Caller: "alice", Method: "CreateCredential", CredentialID: "one", RequestID: "4711"}
	if _, found, err := s.Request(t.Context(), key); found || err != nil {
		t.Fatalf("a request that was never stored was found: %v; the error is %v", found, err)
	}
	change := NewCredential("one")
	change.Request = &store.Request{RequestKey: key, Fingerprint: []byte("fingerprint")}
	f.apply(s, change)
	if got, found, err := f.open().Request(t.Context(), key); string(got) != "fingerprint" || !found || err != nil {
		t.Errorf("a stored request has the fingerprint %q and was found: %v; the error is %v", got, found, err)
	}
	if _, err := s.Apply(t.Context(), change); !errors.Is(err, store.ErrRepeated) {
		t.Errorf("a second change with the same request returned the error %v, want ErrRepeated", err)
	}
	for _, other := range []store.RequestKey{
		{Caller: "bob", Method: key.Method, CredentialID: "one", RequestID: "4711"},
		{Caller: "alice", Method: "UpdateCredential", CredentialID: "one", RequestID: "4711"},
		{Caller: "alice", Method: key.Method, CredentialID: "two", RequestID: "4711"},
		{Caller: "alice", Method: key.Method, CredentialID: "one", RequestID: "4712"},
	} {
		if _, found, err := s.Request(t.Context(), other); found || err != nil {
			t.Errorf("the request %+v, which was never stored, was found: %v; the error is %v", other, found, err)
		}
	}
}
