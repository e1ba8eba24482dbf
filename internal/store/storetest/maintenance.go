package storetest

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
)

func purge(t *testing.T, f *fixture) {
	s := f.open()
	var sealed []byte
	for i, deleted := range []time.Time{start.Add(-time.Hour), start, {}, start.Add(-2 * time.Hour)} {
		change := NewCredential(name(i))
		change.Credential.DeleteTime = deleted
		change.Request = &store.Request{RequestKey: store.RequestKey{RequestID: name(i)}, Fingerprint: []byte("f")}
		f.apply(s, change)
		if i == 0 {
			_, versions := f.credential(s, name(i))
			sealed = versions[0].Sealed[8:]
		}
	}
	if err := s.RecordUses(t.Context(), []store.Use{{CredentialID: name(0), Caller: "alice", Version: 1, Minute: start, Count: 1}}); err != nil {
		t.Fatal(err)
	}
	replicas := []*store.Store{s, f.open(), f.open()}
	purged := make([][]string, len(replicas))
	errs := together(len(replicas), func(i int) (err error) {
		purged[i], err = replicas[i].Purge(f.context(), start)
		return err
	})
	ids := slices.Concat(purged...)
	slices.Sort(ids)
	if want := []string{name(0), name(3)}; errors.Join(errs...) != nil || !slices.Equal(ids, want) {
		t.Fatalf("Purge removed the credentials %q, want %q; the error is %v", ids, want, errors.Join(errs...))
	}
	if bytes.Contains(f.database.Dump(t), sealed) {
		t.Error("the database contains the encrypted values of a purged credential")
	}
	if _, _, err := s.Credential(t.Context(), name(0)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("reading a purged credential returned the error %v, want ErrNotFound", err)
	}
	if left, _, _ := f.changes(s, 0); !slices.Equal(left, []string{name(1), name(2)}) {
		t.Errorf("Purge left the credentials %q, want the credentials that are not deleted or were deleted recently", left)
	}
	if events, err := s.Events(t.Context(), name(0), 0, 10); len(events) != 0 || err != nil {
		t.Errorf("a purged credential has %d events, want none; the error is %v", len(events), err)
	}
	if uses, err := s.Uses(t.Context(), name(0)); len(uses) != 0 || err != nil {
		t.Errorf("a purged credential has %d uses, want none; the error is %v", len(uses), err)
	}
	f.apply(s, NewCredential(name(0)))
	key := store.RequestKey{RequestID: name(2)}
	if _, found, err := s.Request(t.Context(), key); !found || err != nil {
		t.Errorf("Purge removed a recent request, or looking for it failed with the error %v", err)
	}
	if _, err := s.Purge(t.Context(), start.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, found, err := s.Request(t.Context(), key); found || err != nil {
		t.Errorf("Purge left an old request, or looking for it failed with the error %v", err)
	}
}

// purgesUses lets the uses of a stored credential and of credentials that are not stored become older
// than a year.
func purgesUses(t *testing.T, f *fixture) {
	s := f.open()
	f.apply(s, NewCredential("stored"))
	for _, id := range []string{"stored", "unused", "used"} {
		if err := s.RecordUses(t.Context(), []store.Use{{CredentialID: id, Caller: "alice", Minute: start, Count: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	f.clock.Advance(365*24*time.Hour - time.Minute)
	if err := s.RecordUses(t.Context(), []store.Use{{CredentialID: "used", Caller: "alice", Minute: f.clock.Now(), Count: 1}}); err != nil {
		t.Fatal(err)
	}
	for _, left := range []map[string]int{{"stored": 1, "unused": 1, "used": 1}, {"stored": 1, "unused": 0, "used": 1}} {
		if _, err := s.Purge(t.Context(), start); err != nil {
			t.Fatal(err)
		}
		for id, want := range left {
			if uses, err := s.Uses(t.Context(), id); len(uses) != want || err != nil {
				t.Errorf("%v after the first use, %d uses of %q are left, want %d; the error is %v", f.clock.Since(start), len(uses), id, want, err)
			}
		}
		f.clock.Advance(2 * time.Minute)
	}
}

// purgeSparesRestored restores a deleted credential while Purge is about to remove it.
func purgeSparesRestored(t *testing.T, f *fixture) {
	s := f.open()
	for i := range 2 {
		change := NewCredential(name(i))
		change.Credential.DeleteTime = start
		f.apply(s, change)
	}
	driver := &hooked{Driver: f.driver()}
	purging, err := store.Open(t.Context(), driver, store.Options{Keys: f.keys, Clock: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	driver.beforeWrite = func() {
		credential, _ := f.credential(s, name(0))
		credential.DeleteTime = time.Time{}
		f.apply(s, update(credential))
	}
	ids, err := purging.Purge(t.Context(), start.Add(time.Hour))
	if err != nil || !slices.Equal(ids, []string{name(1)}) {
		t.Errorf("Purge removed the credentials %q, want only the credential that was not restored; the error is %v", ids, err)
	}
	if credential, versions := f.credential(s, name(0)); len(versions) != 1 || !credential.DeleteTime.IsZero() {
		t.Errorf("the restored credential is %+v, want one version and no delete time", credential)
	}
}

// `hooked` is a driver that calls a function before the next write transaction.
type hooked struct {
	store.Driver

	beforeWrite func()
}

func (h *hooked) Writer() *sql.DB {
	if hook := h.beforeWrite; hook != nil {
		h.beforeWrite = nil
		hook()
	}
	return h.Driver.Writer()
}

func key(t *testing.T) fleetkeys.Key {
	t.Helper()
	key, err := fleetkeys.Parse(secret.New(fleetkeys.Generate()))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ring(t *testing.T, keys ...fleetkeys.Key) *fleetkeys.Ring {
	t.Helper()
	ring, err := fleetkeys.NewRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// rekey encrypts the data keys with a new key while a replica, whose first key is the old one,
// adds versions.
func rekey(t *testing.T, f *fixture) {
	oldKey, newKey := key(t), key(t)
	f.keys = ring(t, oldKey, newKey)
	writer := f.open()
	const credentials = 230 // more data keys than fit into one batch
	for i := range credentials {
		f.apply(writer, NewCredential(name(i)))
	}
	before, versionsBefore := f.credential(writer, name(0))
	oldDataKey := versionsBefore[0].DataKey[8:]
	if !bytes.Contains(f.database.Dump(t), oldDataKey) {
		t.Fatal("the dump of the database does not contain the data key")
	}
	reader, err := f.tryOpen(ring(t, oldKey))
	if err != nil {
		t.Fatal(err)
	}
	fingerprint := reader.Fingerprint(secret.New("a"))

	f.keys = ring(t, newKey, oldKey)
	s := f.open()
	_, _, revision := f.changes(s, 0)
	done := make(chan error, 1)
	go func() { done <- writeRounds(f, writer, name(1), 10) }()
	rewritten, err := s.Rekey(t.Context())
	if err != nil || rewritten < credentials {
		t.Errorf("Rekey encrypted %d data keys, want at least one for each credential; the error is %v", rewritten, err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := s.Rekey(t.Context()); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(f.database.Dump(t), oldDataKey) {
		t.Error("after Rekey, the database still contains a data key that is encrypted with the old key")
	}
	if again, err := s.Rekey(t.Context()); again != 0 || err != nil {
		t.Errorf("a second call of Rekey encrypted %d data keys, want none; the error is %v", again, err)
	}

	after, versionsAfter := f.credential(s, name(0))
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("Rekey changed the credential (-before +after):\n%s", diff)
	}
	if a, b := versionsBefore[0], versionsAfter[0]; !bytes.Equal(a.Sealed, b.Sealed) || bytes.Equal(a.DataKey, b.DataKey) {
		t.Error("Rekey encrypted the values again, or did not encrypt the data key")
	}
	if ids, _, _ := f.changes(s, revision); len(ids) != credentials {
		t.Errorf("after Rekey, Changes returned %d of %d credentials", len(ids), credentials)
	}
	f.keys = ring(t, newKey)
	last := f.open()
	if !bytes.Equal(last.Fingerprint(secret.New("a")), fingerprint) {
		t.Error("Rekey changed the fingerprints of requests")
	}
	report, err := last.Check(t.Context())
	if err != nil || len(report.Problems) != 0 || report.Outdated != 0 || report.Credentials != credentials || report.Versions != credentials+10 {
		t.Errorf("after Rekey, Check returned the report %+v and the error %v", report, err)
	}
	if _, err := f.tryOpen(ring(t, oldKey)); !errors.Is(err, store.ErrUnknownKey) {
		t.Errorf("opening the store with only the old key returned the error %v, want ErrUnknownKey", err)
	}
}

// rekeyFails checks the error of Rekey if the old key, which encrypted some data keys, is missing.
func rekeyFails(t *testing.T, f *fixture) {
	oldKey, newKey := key(t), key(t)
	f.keys = ring(t, oldKey)
	s := f.open()
	for i := range 3 {
		f.apply(s, NewCredential(name(i)))
	}
	f.keys = ring(t, newKey, oldKey)
	if _, err := f.open().Rekey(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := 3; i < 6; i++ {
		f.apply(s, NewCredential(name(i)))
	}
	f.keys = ring(t, newKey)
	_, err := f.open().Rekey(t.Context())
	if !errors.Is(err, store.ErrUnknownKey) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Rekey without the old key returned the error %v, want ErrUnknownKey in a single line", err)
	}
}

func check(t *testing.T, f *fixture) {
	s := f.open()
	for i := range 6 {
		f.apply(s, NewCredential(name(i)))
	}
	credential, _ := f.credential(s, name(5))
	change := update(credential)
	change.Insert = newVersion(2, "second")
	f.apply(s, change)
	credential, _ = f.credential(s, name(5))
	change = update(credential)
	change.Destroy = 2
	f.apply(s, change)
	f.exec(`UPDATE versions SET allowed_hosts = '["evil.example.com"]' WHERE credential_id = '` + name(1) + `'`)
	f.exec(`UPDATE versions SET data_key = NULL WHERE credential_id = '` + name(2) + `'`)
	f.exec(`UPDATE credentials SET active_version = 7 WHERE id = '` + name(3) + `'`)
	f.exec(`UPDATE credentials SET canary_version = 8 WHERE id = '` + name(4) + `'`)
	report, err := s.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var problems []string
	for _, p := range report.Problems {
		problems = append(problems, fmt.Sprintf("%s %d: %v", p.CredentialID, p.Version, p.Err))
	}
	want := []string{
		fmt.Sprintf("%s 7: %v", name(3), store.ErrVersionNotFound), fmt.Sprintf("%s 8: %v", name(4), store.ErrVersionNotFound),
		fmt.Sprintf("%s 1: %v", name(1), store.ErrDamaged), fmt.Sprintf("%s 1: %v", name(2), store.ErrDamaged),
	}
	if diff := cmp.Diff(want, problems); diff != "" || report.Credentials != 6 || report.Versions != 7 || report.Destroyed != 1 {
		t.Errorf("Check returned the report %+v with these problems (-want +got):\n%s", report, diff)
	}
}
