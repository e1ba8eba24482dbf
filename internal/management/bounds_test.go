package management_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/management"
)

// TestManyProblems checks that the error for a request with very many problems is short.
func TestManyProblems(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + acme))
	n := newAcme("one", "first")
	for i := range 200_000 {
		n.Values = append(n.Values, management.FieldValue{Field: fmt.Sprint("field", i)})
	}
	_, err := r.Create(t.Context(), r.admin(), n)
	wantReason(t, err, "INVALID_REQUEST")
	if known := fault.From(err); len(known.Violations) > 20 || len(known.Message) > 10_000 {
		t.Errorf("the error has %d violations and %d bytes", len(known.Violations), len(known.Message))
	}
}

// TestRepeatedMask checks that the audit log and the history name each changed field once, even if
// the update mask repeats its name.
func TestRepeatedMask(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + acme))
	one := r.create("one", "first")
	mask := slices.Repeat([]string{"display_name", "disabled"}, 1000)
	if _, err := r.Update(t.Context(), r.admin(), "one", one.ETag, management.Update{DisplayName: "New", Mask: mask}); err != nil {
		t.Fatal(err)
	}
	want := []string{"disabled", "display_name"}
	if got := r.audit.last().Fields; !slices.Equal(got, want) {
		t.Errorf("the audit record names %d fields", len(got))
	}
	events, _, err := r.Events(t.Context(), r.admin(), "one", 0, "")
	if err != nil || !slices.Equal(events[0].Fields, want) {
		t.Errorf("the event names %d fields: %v", len(events[0].Fields), err)
	}
}

// TestExpireTime checks that times which JSON and the database cannot represent are rejected.
func TestExpireTime(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + acme))
	one := r.create("one", "first")
	for _, at := range []time.Time{time.Unix(1<<40, 0), time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(-1, 0)} {
		n := newAcme("two", "first")
		n.SecretExpireTime, n.RequestID = at, "r1"
		_, err := r.Create(t.Context(), r.admin(), n)
		wantReason(t, err, "INVALID_REQUEST")
		_, err = r.Update(t.Context(), r.admin(), "one", one.ETag, management.Update{SecretExpireTime: at, Mask: []string{"secret_expire_time"}})
		wantReason(t, err, "INVALID_REQUEST")
	}
}

// TestLargePages checks that a page of large credentials fits into one gRPC message, and that all
// pages together contain all credentials.
func TestLargePages(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + acme))
	const count = 100
	for i := range count {
		n := newAcme(fmt.Sprint("c", i), "first")
		n.Values = append(n.Values, management.FieldValue{Field: "name", Value: text(60 << 10)})
		r.created(n)
	}
	token, seen := "", 0
	for {
		page, next, err := r.List(t.Context(), r.admin(), management.Selection{PageSize: 1000, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, c := range page {
			size += len(c.PublicValues["name"])
		}
		if size > 3<<20 {
			t.Errorf("a page has %d bytes, which is too much for one message", size)
		}
		seen += len(page)
		if token = next; token == "" {
			break
		}
	}
	if seen != count {
		t.Errorf("all pages together have %d credentials, want %d", seen, count)
	}
}

// TestTooManyVersions checks that the error for one version too many names a version to destroy, and
// that destroyed versions do not count.
func TestTooManyVersions(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + acme))
	r.create("one", "first")
	add := func(activate bool) error {
		_, _, err := r.CreateVersion(t.Context(), r.admin(), "one", management.NewVersion{ETag: r.one().ETag, Activate: activate})
		return err
	}
	for number := 2; number <= 20; number++ {
		if err := add(number == 2); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := r.Activate(t.Context(), r.admin(), "one", r.one().ETag, 1, []string{"token:x"}); err != nil {
		t.Fatal(err)
	}
	err := add(true)
	wantReason(t, err, "INVALID_REQUEST")
	if !strings.Contains(err.Error(), "destroy one, for example version 3,") {
		t.Errorf("the error names no version to destroy: %v", err)
	}
	if _, _, err := r.DestroyVersion(t.Context(), r.admin(), "one", r.one().ETag, 3); err != nil {
		t.Fatal(err)
	}
	if err := add(true); err != nil {
		t.Errorf("after a version was destroyed, the error is %v", err)
	}
	wantReason(t, add(true), "INVALID_REQUEST")
}

// TestDeletedForLong checks that nobody can see or restore a credential that was deleted more than
// 30 days ago.
func TestDeletedForLong(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + acme))
	one := r.create("one", "first")
	if _, err := r.Delete(t.Context(), r.admin(), "one", one.ETag); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(management.Retention + time.Second)
	_, err := r.Get(t.Context(), r.admin(), "one")
	wantReason(t, err, "CREDENTIAL_NOT_FOUND")
	_, err = r.Undelete(t.Context(), r.admin(), "one")
	wantReason(t, err, "CREDENTIAL_NOT_FOUND")
}

// TestNameWithoutID checks that the error names the display name if no ID can be made from it.
func TestNameWithoutID(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + acme))
	n := newAcme("", "first")
	n.DisplayName = "メール"
	_, err := r.Create(t.Context(), r.admin(), n)
	wantReason(t, err, "INVALID_REQUEST")
	if !strings.Contains(err.Error(), "display name") {
		t.Errorf("the error does not name the display name: %v", err)
	}
	n.DisplayName = ""
	_, err = r.Create(t.Context(), r.admin(), n)
	wantReason(t, err, "INVALID_REQUEST")
	if !strings.Contains(err.Error(), "credential.display_name") || strings.Contains(err.Error(), "credential_id") {
		t.Errorf("the error does not name the missing display name: %v", err)
	}
}
