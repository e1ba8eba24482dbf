package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
)

// fill stores at least one row in every table.
func (f *fixture) fill(s *store.Store) {
	f.t.Helper()
	for i := range 3 {
		change := NewCredential(name(i))
		change.Credential.Labels = map[string]string{"a": "b'\"\\ü\u2028"}
		change.Credential.Disabled, change.Credential.KeepWarm = i == 1, i == 2
		change.Request = &store.Request{RequestKey: store.RequestKey{Caller: "alice", RequestID: name(i)}, Fingerprint: s.Fingerprint(secret.New("a"))}
		f.apply(s, change)
	}
	credential, _ := f.credential(s, name(1))
	change := update(credential)
	change.Insert, credential.ActiveVersion = newVersion(2, "second"), 2
	f.apply(s, change)
	credential, _ = f.credential(s, name(1))
	change = update(credential)
	change.Destroy = 1
	f.apply(s, change)
	event := &store.Event{CredentialID: name(2), Version: 1}
	if err := s.Record(f.t.Context(), event, &store.Verification{Outcome: "ACCEPTED", HTTPStatus: 200, Time: start}); err != nil {
		f.t.Fatal(err)
	}
	if err := s.RecordUses(f.t.Context(), []store.Use{{CredentialID: name(0), Caller: "bob", Version: 1, Minute: start, Count: 7}}); err != nil {
		f.t.Fatal(err)
	}
	f.rotate(s, name(0), canary("second"))
}

// content returns as text everything that a store contains, with decrypted values.
func (f *fixture) content(s *store.Store) string {
	f.t.Helper()
	all := new(strings.Builder)
	ids, _, revision := f.changes(s, 0)
	_, _ = fmt.Fprintf(all, "the store %s has the revision %d and the fingerprint %x\n", s.ID(), revision, s.Fingerprint(secret.New("a")))
	for _, id := range ids {
		credential, versions := f.credential(s, id)
		_, _ = fmt.Fprintf(all, "%+v\n", *credential)
		for _, v := range versions {
			_, _ = fmt.Fprintf(all, "%+v %+v\n", *v, v.Verification)
			if v.DestroyTime.IsZero() {
				values, err := s.Values(credential, v)
				if err != nil {
					f.t.Error(err)
				}
				_, _ = fmt.Fprintln(all, "value", values["password"].Reveal())
			}
		}
		events, err := s.Events(f.t.Context(), id, 0, 100)
		for _, e := range events {
			_, _ = fmt.Fprintf(all, "%+v\n", *e)
		}
		uses, err2 := s.Uses(f.t.Context(), id)
		for _, u := range uses {
			_, _ = fmt.Fprintf(all, "%+v\n", *u)
		}
		fingerprint, found, err3 := s.Request(f.t.Context(), store.RequestKey{Caller: "alice", RequestID: id})
		leased := f.lease(s, id)
		_, _ = fmt.Fprintln(all, "refresh token", leased.Chain, leased.Sequence, leased.Value.Reveal(), leased.Interrupted)
		err = errors.Join(err, s.ReleaseRefreshToken(f.t.Context(), leased, leased.Interrupted))
		_, _ = fmt.Fprintf(all, "the request with the fingerprint %x was found: %v %v\n", fingerprint, found, errors.Join(err, err2, err3))
	}
	// A Version contains a pointer to its verification, so the verification is printed separately.
	lines := strings.Split(all.String(), "\n")
	for i, line := range lines {
		if before, after, found := strings.Cut(line, " Verification:0x"); found {
			_, after, _ = strings.Cut(after, " ")
			lines[i] = before + " " + after
		}
	}
	return strings.Join(lines, "\n")
}

func (f *fixture) backup(s *store.Store) []byte {
	f.t.Helper()
	var out bytes.Buffer
	if err := s.Backup(f.t.Context(), &out); err != nil {
		f.t.Fatal(err)
	}
	return out.Bytes()
}

func (f *fixture) restore(keys *fleetkeys.Ring, in io.Reader) error {
	f.t.Helper()
	return store.Restore(f.t.Context(), f.driver(), store.Options{Keys: keys, Clock: f.clock}, in)
}

// Move checks that a backup of one database can be restored into another database, which may be of
// another kind.
func Move(t *testing.T, from, to Database) {
	keys := fleetkeys.RandomRing()
	source, target := newFixture(t, from, keys), newFixture(t, to, keys)
	s := source.open()
	source.fill(s)
	backup := source.backup(s)
	want := source.content(s)
	if bytes.Contains(backup, []byte("canary-secret")) || bytes.Contains(backup, []byte("alice")) {
		t.Error("the backup is not encrypted")
	}
	header, err := store.CheckBackup(store.Options{Keys: keys}, bytes.NewReader(backup))
	if err != nil || header.StoreID != s.ID() || !header.Time.Equal(start) || len(header.KeyID) != 8 || header.Schema < 1 {
		t.Errorf("the header of the backup is wrong: %+v; the error is %v", header, err)
	}
	if err := target.restore(keys, bytes.NewReader(backup)); err != nil {
		t.Fatal(err)
	}
	restored := target.open()
	if diff := cmp.Diff(want, target.content(restored)); diff != "" {
		t.Errorf("the restored store differs from the original (-want +got):\n%s", diff)
	}
	target.apply(restored, NewCredential("later"))
	if err := target.restore(keys, bytes.NewReader(backup)); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("restoring a backup into a store in use returned the error %v, want ErrNotEmpty", err)
	}
	if diff := cmp.Diff(want, source.content(s)); diff != "" {
		t.Errorf("making or restoring the backup changed the original store (-before +after):\n%s", diff)
	}
}

// damagedBackups checks that Restore refuses backups that were changed or truncated.
func damagedBackups(t *testing.T, f *fixture) {
	s := f.open()
	f.fill(s)
	backup := f.backup(s)
	payload := bytes.Index(backup, []byte("\n---")) + 100
	changed := func(at int) []byte {
		data := bytes.Clone(backup)
		data[at] ^= 1
		return data
	}
	header := bytes.IndexByte(backup, '\n')
	empty := newFixture(t, f.create(t), f.keys)
	for what, test := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":                               {nil, store.ErrNotBackup},
		"another file":                          {[]byte(strings.Repeat("SQLite format 3", 1000)), store.ErrNotBackup},
		"a backup with only half of the header": {backup[:header/2], store.ErrNotBackup},
		"the header":                            {backup[:header+1], store.ErrNotBackup},
		"a part":                                {backup[:payload], store.ErrTruncated},
		"a backup without its last byte":        {backup[:len(backup)-1], store.ErrTruncated},
		"without the trailer":                   {backup[:len(backup)-73], store.ErrTruncated},
		"a backup with a changed end":           {changed(len(backup) - 2), store.ErrDamaged},
		"a backup with a change in the middle":  {changed(payload), store.ErrDamaged},
		"a backup with a changed time":          {bytes.Replace(backup, []byte(`"time":"2026`), []byte(`"time":"2027`), 1), store.ErrDamaged},
		"a backup with another format version":  {bytes.Replace(backup, []byte(`"version":1`), []byte(`"version":2`), 1), store.ErrUnknownFormat},
		"a backup with data after its end":      {append(bytes.Clone(backup), "more"...), store.ErrTruncated},
		"a backup with a changed encrypted key": {changed(bytes.Index(backup, []byte("authmaterial-store-key")) + 30), store.ErrDamaged},
	} {
		if err := empty.restore(f.keys, bytes.NewReader(test.data)); !errors.Is(err, test.want) {
			t.Errorf("restoring %s returned the error %v, want %v", what, err, test.want)
		}
		if _, err := store.CheckBackup(store.Options{Keys: f.keys}, bytes.NewReader(test.data)); !errors.Is(err, test.want) {
			t.Errorf("checking %s returned the error %v, want %v", what, err, test.want)
		}
	}
	original, err := store.CheckBackup(store.Options{Keys: f.keys}, bytes.NewReader(backup))
	if err != nil {
		t.Fatal(err)
	}
	otherKey := fleetkeys.RandomRing()
	_, checked := store.CheckBackup(store.Options{Keys: otherKey}, bytes.NewReader(backup))
	for _, err := range []error{checked, empty.restore(otherKey, bytes.NewReader(backup))} {
		if !errors.Is(err, store.ErrUnknownKey) || !strings.Contains(err.Error(), original.KeyID) {
			t.Errorf("restoring or checking a backup with another key returned the error %v, want ErrUnknownKey with the key's ID", err)
		}
	}
	if err := empty.restore(f.keys, failingReader{}); err == nil {
		t.Error("restoring a backup succeeded although the reader failed")
	}
}

// restoresNothing checks that a backup whose end is missing leaves an empty store.
func restoresNothing(t *testing.T, f *fixture) {
	s := f.open()
	f.fill(s)
	backup := f.backup(s)
	f.exec(`UPDATE store SET store_id = 'another'`)
	for _, table := range []string{"versions", "credentials", "events", "requests", "uses", "refresh_tokens"} {
		if _, err := f.driver().Writer().ExecContext(t.Context(), `DELETE FROM `+table); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.restore(f.keys, bytes.NewReader(backup[:len(backup)-1])); !errors.Is(err, store.ErrTruncated) {
		t.Fatal(err)
	}
	var rows int
	var id string
	err := f.driver().Reader().QueryRowContext(t.Context(), `SELECT store_id, (SELECT count(*) FROM credentials) FROM store`).Scan(&id, &rows)
	if rows != 0 || id != "another" || err != nil {
		t.Errorf("after a failed restore, the store %s contains %d credentials, want none in the store \"another\"; the error is %v", id, rows, err)
	}
	if err := f.restore(f.keys, bytes.NewReader(backup)); err != nil {
		t.Fatal(err)
	}
	if _, rows, _ := f.changes(f.open(), 0); len(rows) != 3 {
		t.Errorf("%d credentials were restored, want 3", len(rows))
	}
}

// backsUpOneState makes backups while other replicas write. Each change sets the name of a
// credential and the value of a new version to the same text, so the test would notice a backup
// with only a part of a change.
func backsUpOneState(t *testing.T, f *fixture) {
	s := f.open()
	for i := range 2 {
		f.apply(s, NewCredential(name(i)))
	}
	done := make(chan error, 1)
	go func() {
		done <- errors.Join(together(2, func(i int) error { return writeRounds(f, s, name(i), 20) })...)
	}()
	var backups [][]byte
	for range 5 {
		backups = append(backups, f.backup(s))
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, backup := range backups {
		f.exec(`UPDATE store SET revision = 0`)
		for _, table := range []string{"credentials", "events", "refresh_tokens"} {
			if _, err := f.driver().Writer().ExecContext(t.Context(), `DELETE FROM `+table); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.restore(f.keys, bytes.NewReader(backup)); err != nil {
			t.Fatal(err)
		}
		poll := poller{f: f, store: f.open(), seen: map[string]string{}}
		poll.once()
		if len(poll.seen) != 2 {
			t.Errorf("the restored backup contains the credentials %v, want two credentials", poll.seen)
		}
	}
}
