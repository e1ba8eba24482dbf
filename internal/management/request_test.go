package management_test

import (
	"sync"
	"testing"

	"github.com/authmaterial/broker/internal/management"
)

// TestRepeatedCreate checks that another replica, which has not read the change yet, answers a
// repeated request with the credential.
func TestRepeatedCreate(t *testing.T) {
	w := newWorld(t)
	a, b := w.replica(w.parse(grants+acme)), w.replica(w.parse(grants+acme))
	n := newAcme("one", "first")
	n.RequestID = "r1"
	a.created(n)
	if got := b.created(n); got == nil || got.ID != "one" {
		t.Errorf("the repeated request returned the credential %v", got)
	}
	n.DisplayName = "Other"
	_, err := b.Create(t.Context(), b.admin(), n)
	wantReason(t, err, "INVALID_REQUEST")
	n.DisplayName, n.Values = "Acme", values(map[string]string{"token": "other"})
	_, err = b.Create(t.Context(), b.admin(), n)
	wantReason(t, err, "INVALID_REQUEST")
}

// TestRepeatedCreateVersion checks that a repeated request returns the version that it created,
// even if there are later ones.
func TestRepeatedCreateVersion(t *testing.T) {
	w := newWorld(t)
	a, b := w.replica(w.parse(grants+acme)), w.replica(w.parse(grants+acme))
	one := a.create("one", "first")
	n := management.NewVersion{ETag: one.ETag, Values: values(map[string]string{"token": "second"}), RequestID: "r1", Activate: true}
	_, changed := a.addVersion(n)
	_, changed = a.addVersion(management.NewVersion{ETag: changed.ETag, Activate: true})
	for _, r := range []*replica{a, b} {
		again, now := r.addVersion(n)
		if again.Number != 2 || now.ActiveVersion != 3 || now.ETag != changed.ETag {
			t.Errorf("the repeated request returns version %d, and the active version %d", again.Number, now.ActiveVersion)
		}
		if record := r.audit.last(); record.StoredVersion != 2 {
			t.Errorf("the audit record names version %d", record.StoredVersion)
		}
	}
	n.Values = values(map[string]string{"token": "third"})
	_, _, err := a.CreateVersion(t.Context(), a.admin(), "one", n)
	wantReason(t, err, "INVALID_REQUEST")
}

// TestConcurrentRepeats checks that concurrent calls with the same request ID return the same
// version.
func TestConcurrentRepeats(t *testing.T) {
	w := newWorld(t)
	replicas := []*replica{w.replica(w.parse(grants + acme)), w.replica(w.parse(grants + acme))}
	one := replicas[0].create("one", "first")
	n := management.NewVersion{ETag: one.ETag, RequestID: "r1"}
	var calls sync.WaitGroup
	for i := range 20 {
		r := replicas[i%2]
		calls.Go(func() {
			made, _, err := r.CreateVersion(t.Context(), r.admin(), "one", n)
			if err != nil || made.Number != 2 {
				t.Errorf("a call returned the version %v and the error %v", made, err)
			}
		})
	}
	calls.Wait()
	versions, err := replicas[0].Versions(t.Context(), replicas[0].admin(), "one")
	if err != nil || len(versions) != 2 {
		t.Errorf("the credential has %d versions, want 2; the error is %v", len(versions), err)
	}
}
