package storetest

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
)

// long is longer than a test.
const long = time.Minute

func first(id string) secret.Text { return secret.New(canary("first-" + id)) }

func chain(id string) store.Chain {
	return store.Chain{CredentialID: id, First: first(id), Recipient: "example.com"}
}

func (f *fixture) lease(s *store.Store, id string) *store.RefreshToken {
	f.t.Helper()
	leased, wait, err := s.LeaseRefreshToken(f.t.Context(), chain(id), long)
	if err != nil || wait != 0 {
		f.t.Fatalf("leasing the refresh token of %s returned the wait %v and the error %v", id, wait, err)
	}
	return leased
}

// rotate stores a successor of the current refresh token.
func (f *fixture) rotate(s *store.Store, id, successor string) {
	f.t.Helper()
	if err := s.ReplaceRefreshToken(f.t.Context(), f.lease(s, id), secret.New(successor)); err != nil {
		f.t.Fatal(err)
	}
}

// wantLease leases a refresh token, checks it, and releases it.
func (f *fixture) wantLease(s *store.Store, id, value string, sequence int64, interrupted bool) {
	f.t.Helper()
	leased := f.lease(s, id)
	if leased.Value.Reveal() != value || leased.Sequence != sequence || leased.Interrupted != interrupted {
		f.t.Errorf("the refresh token %d of %s was leased, with Interrupted %v, want the expected token %d and %v",
			leased.Sequence, id, leased.Interrupted, sequence, interrupted)
	}
	if err := s.ReleaseRefreshToken(f.t.Context(), leased, interrupted); err != nil {
		f.t.Error(err)
	}
}

// endLease lets the time of the only lease pass.
func (f *fixture) endLease() {
	f.t.Helper()
	f.exec(`UPDATE refresh_tokens SET lease_end = 1`)
}

func rotates(t *testing.T, f *fixture) {
	a, b := f.open(), f.open()
	leased := f.lease(a, "one")
	if leased.Sequence != 1 || leased.Interrupted || !leased.Value.Equal(first("one")) {
		t.Errorf("a new chain begins with the refresh token %d, with Interrupted %v", leased.Sequence, leased.Interrupted)
	}
	for _, s := range []*store.Store{a, b} {
		if _, wait, err := s.LeaseRefreshToken(t.Context(), chain("one"), long); !errors.Is(err, store.ErrLeased) || wait <= 0 || wait > long {
			t.Errorf("leasing a leased refresh token returned the wait %v and the error %v", wait, err)
		}
	}
	f.wantLease(b, "two", canary("first-two"), 1, false)
	if err := a.ReplaceRefreshToken(t.Context(), leased, secret.New(canary("second"))); err != nil {
		t.Fatal(err)
	}
	f.wantLease(b, "one", canary("second"), 2, false)
	dump := f.database.Dump(t)
	for _, text := range []string{canary("first-one"), canary("second")} {
		if bytes.Contains(dump, []byte(text)) {
			t.Error("the database contains a refresh token that is not encrypted")
		}
	}
	for what, other := range map[string]store.Chain{
		"first refresh token": {CredentialID: "one", First: secret.New("new"), Recipient: "example.com"},
		"recipient":           {CredentialID: "one", First: first("one"), Recipient: "example.org"},
	} {
		got, _, err := a.LeaseRefreshToken(t.Context(), other, long)
		if err != nil || got.Sequence != 1 || !got.Value.Equal(other.First) || got.Chain == leased.Chain {
			t.Errorf("another %s did not begin a new chain; the error is %v", what, err)
		}
	}
	if revision, err := a.Revision(t.Context()); revision != 0 || err != nil {
		t.Errorf("the refresh tokens raised the revision of the store to %d; the error is %v", revision, err)
	}
}

// interrupts ends leases without a result.
func interrupts(t *testing.T, f *fixture) {
	s := f.open()
	f.lease(s, "one")
	f.endLease()
	f.wantLease(s, "one", canary("first-one"), 1, true)
	leased := f.lease(s, "one")
	if !leased.Interrupted {
		t.Error("the release of an interrupted lease without a result removed Interrupted")
	}
	if err := s.ReleaseRefreshToken(t.Context(), leased, false); err != nil {
		t.Fatal(err)
	}
	f.wantLease(s, "one", canary("first-one"), 1, false)
	var err error
	for leases := 0; leases < 2 && (err == nil || errors.Is(err, store.ErrLeased)); {
		if leased, _, err = s.LeaseRefreshToken(t.Context(), chain("one"), time.Microsecond); err == nil {
			leases++
		}
	}
	if err != nil || !leased.Interrupted {
		t.Errorf("after a short lease, Interrupted is %v; the error is %v", leased.Interrupted, err)
	}
	f.endLease()
	f.lease(s, "one")
	f.exec(`UPDATE refresh_tokens SET lease_end = lease_end + 3600000000`) // the database's clock was set back
	f.wantLease(s, "one", canary("first-one"), 1, true)
}

// keepsLateSuccessors lets the first lease end while its holder waits for the provider.
func keepsLateSuccessors(t *testing.T, f *fixture) {
	a, b, c := f.open(), f.open(), f.open()
	late := f.lease(a, "one")
	f.endLease()
	second := f.lease(b, "one")
	if err := a.ReplaceRefreshToken(t.Context(), late, secret.New("successor")); !errors.Is(err, store.ErrLeased) {
		t.Errorf("while another replica has the lease, storing a late successor returned the error %v, want ErrLeased", err)
	}
	if _, _, err := c.LeaseRefreshToken(t.Context(), chain("one"), long); !errors.Is(err, store.ErrLeased) {
		t.Errorf("a late successor ended the lease of another replica; the error is %v", err)
	}
	f.endLease()
	for range 2 { // the answer of the database may be lost
		if err := a.ReplaceRefreshToken(t.Context(), late, secret.New("successor")); err != nil {
			t.Errorf("a holder whose lease ended could not store its successor: %v", err)
		}
	}
	if err := b.ReplaceRefreshToken(t.Context(), second, secret.New("other")); !errors.Is(err, store.ErrChanged) {
		t.Errorf("a second successor of one refresh token led to the error %v, want ErrChanged", err)
	}
	if err := b.ReleaseRefreshToken(t.Context(), second, true); !errors.Is(err, store.ErrChanged) {
		t.Errorf("releasing a refresh token that has a successor returned the error %v, want ErrChanged", err)
	}
	f.wantLease(c, "one", "successor", 2, false)

	late = f.lease(a, "one")
	f.endLease()
	f.lease(b, "one")
	if err := a.ReleaseRefreshToken(t.Context(), late, false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.LeaseRefreshToken(t.Context(), chain("one"), long); !errors.Is(err, store.ErrLeased) {
		t.Errorf("the release of an ended lease ended the lease of another replica; the error is %v", err)
	}
	f.exec(`UPDATE refresh_tokens SET lease_end = lease_end + 3600000000`) // the database's clock was set back
	if err := a.ReplaceRefreshToken(t.Context(), late, secret.New("third")); err != nil {
		t.Errorf("a lease that seems to last too long prevented storing a late successor: %v", err)
	}
	f.wantLease(c, "one", "third", 3, false)
	f.exec(`UPDATE refresh_tokens SET sequence = 1`) // an older backup was restored
	if err := a.ReplaceRefreshToken(t.Context(), late, secret.New("fourth")); !errors.Is(err, store.ErrChanged) {
		t.Errorf("storing the successor of a refresh token that the store does not have any more returned the error %v, want ErrChanged", err)
	}
}

// leasesOnce leases one refresh token in many replicas at the same time.
func leasesOnce(t *testing.T, f *fixture) {
	replicas := []*store.Store{f.open(), f.open(), f.open(), f.open()}
	for round := range 5 {
		errs := together(len(replicas)*2, func(i int) error {
			leased, _, err := replicas[i/2].LeaseRefreshToken(f.context(), chain("one"), long)
			if err == nil {
				err = replicas[i/2].ReplaceRefreshToken(f.context(), leased, secret.New(name(round)))
			}
			return err
		})
		succeeded := 0
		for _, err := range errs {
			if err == nil {
				succeeded++
			} else if !errors.Is(err, store.ErrLeased) {
				t.Errorf("a lease returned the error %v", err)
			}
		}
		if succeeded == 0 {
			t.Error("no replica got the lease")
		}
	}
	if left := f.count(`SELECT count(*) FROM refresh_tokens`); left != 1 {
		t.Errorf("one chain has %d rows", left)
	}
}

// bindsRefreshTokens plays an attacker who can write to the database.
func bindsRefreshTokens(t *testing.T, f *fixture) {
	s := f.open()
	for what, attack := range map[string]string{
		"of another chain":         `UPDATE refresh_tokens SET sealed = (SELECT r.sealed FROM refresh_tokens r WHERE r.credential_id = 'two') WHERE credential_id = 'one'`,
		"with an earlier position": `UPDATE refresh_tokens SET sequence = 1 WHERE credential_id = 'one'`,
	} {
		for _, id := range []string{"one", "two"} {
			f.rotate(s, id, "second")
		}
		f.exec(attack)
		if _, _, err := s.LeaseRefreshToken(t.Context(), chain("one"), long); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("leasing a refresh token %s returned the error %v, want ErrDamaged", what, err)
		}
		report, err := s.Check(t.Context())
		want := []store.Problem{{CredentialID: "one", Err: store.ErrDamaged}}
		if err != nil || !slices.Equal(report.Rotating, []string{"one", "two"}) || !slices.Equal(report.Problems, want) {
			t.Errorf("Check returned the report %+v and the error %v", report, err)
		}
		f.exec(`DELETE FROM refresh_tokens WHERE credential_id = 'one'`)
	}
}

// erasesRefreshTokens destroys versions and purges credentials whose refresh tokens were replaced.
func erasesRefreshTokens(t *testing.T, f *fixture) {
	s := f.open()
	f.rotate(s, "declared", "kept")
	for _, id := range []string{"one", "two"} {
		change := NewCredential(id)
		change.Insert.Values[store.FirstRefreshTokenField] = first(id)
		f.apply(s, change)
		f.rotate(s, id, "second")
	}
	var sealed []byte
	if err := f.driver().Reader().QueryRowContext(t.Context(), `SELECT sealed FROM refresh_tokens WHERE credential_id = 'one'`).Scan(&sealed); err != nil {
		t.Fatal(err)
	}
	next := func(first secret.Text, destroy int) {
		t.Helper()
		credential, versions := f.credential(s, "one")
		change := update(credential)
		change.Insert = newVersion(len(versions)+1, "another")
		change.Insert.Values[store.FirstRefreshTokenField] = first
		credential.ActiveVersion, change.Destroy = len(versions)+1, destroy
		f.apply(s, change)
	}
	next(first("one"), 1) // another value of the version changed
	f.wantLease(s, "one", "second", 2, false)
	if !bytes.Contains(f.database.Dump(t), sealed) {
		t.Fatal("the database lacks the refresh token")
	}
	f.exec(`UPDATE versions SET origin = '' WHERE credential_id = 'one' AND number = 2`) // an earlier release stored the version
	next(first("one"), 0)
	next(secret.New("new"), 3)
	f.wantLease(s, "one", "second", 2, false)
	next(secret.New("new"), 2)
	if left := f.count(`SELECT count(*) FROM refresh_tokens WHERE credential_id = 'one'`); left != 0 || bytes.Contains(f.database.Dump(t), sealed) {
		t.Errorf("after all versions of a chain were destroyed, %d refresh tokens are left, or a copy", left)
	}

	deleted := f.clock.Now()
	credential, _ := f.credential(s, "two")
	credential.DeleteTime = deleted
	f.apply(s, update(credential))
	for _, id := range []string{"two", "declared"} {
		f.wantLease(s, id, map[string]string{"two": "second", "declared": "kept"}[id], 2, false)
	}
	f.clock.Advance(2 * time.Hour)
	if ids, err := s.Purge(t.Context(), f.clock.Now()); !slices.Equal(ids, []string{"two"}) || err != nil {
		t.Fatal(ids, err)
	}
	f.wantLease(s, "declared", "kept", 2, false)
	if left := f.count(`SELECT count(*) FROM refresh_tokens WHERE credential_id = 'two'`); left != 0 {
		t.Error("the refresh token of a purged credential is left")
	}
}

// purgeSparesDeclared purges a managed credential that was replaced by a declared one.
func purgeSparesDeclared(t *testing.T, f *fixture) {
	s := f.open()
	change := NewCredential("one")
	change.Credential.DeleteTime = start
	f.apply(s, change)
	f.clock.Advance(2 * time.Hour)
	f.rotate(s, "one", "second")
	f.clock.Advance(time.Hour)
	if ids, err := s.Purge(t.Context(), f.clock.Now()); len(ids) != 1 || err != nil {
		t.Fatal(ids, err)
	}
	f.wantLease(s, "one", "second", 2, false)
}

// rekeysRefreshTokens replaces the store key while a replica, whose first key is the old one, rotates.
func rekeysRefreshTokens(t *testing.T, f *fixture) {
	oldKey, newKey := key(t), key(t)
	f.keys = ring(t, oldKey, newKey)
	writer := f.open()
	const chains = 230 // more refresh tokens than fit into one batch
	for i := range chains {
		f.rotate(writer, name(i), "second")
	}
	f.keys = ring(t, newKey, oldKey)
	s := f.open()
	done := make(chan error, 1)
	go func() {
		var errs []error
		for range 10 {
			leased, _, err := writer.LeaseRefreshToken(f.context(), chain(name(1)), long)
			if err == nil {
				err = writer.ReplaceRefreshToken(f.context(), leased, secret.New("later"))
			}
			errs = append(errs, err)
		}
		done <- errors.Join(errs...)
	}()
	if rewritten, err := s.Rekey(t.Context()); err != nil || rewritten < chains {
		t.Errorf("Rekey encrypted %d refresh tokens, want at least %d; the error is %v", rewritten, chains, err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if report, err := s.Check(t.Context()); err != nil || report.Outdated > 1 || len(report.Rotating) != chains {
		t.Errorf("after Rekey, Check returned the report %+v and the error %v", report, err)
	}
	if _, err := s.Rekey(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.keys = ring(t, newKey)
	last := f.open()
	f.wantLease(last, name(0), "second", 2, false)
	f.wantLease(last, name(1), "later", 12, false)
	f.keys = ring(t, oldKey, newKey)
	f.rotate(f.open(), name(2), "third")
	if _, err := last.Rekey(t.Context()); !errors.Is(err, store.ErrUnknownKey) {
		t.Errorf("Rekey without the old key returned the error %v, want ErrUnknownKey", err)
	}
}

// restoresNoOlder refuses to restore a backup over refresh tokens, which are newer than the backup.
func restoresNoOlder(t *testing.T, f *fixture) {
	s := f.open()
	backup := f.backup(s)
	f.lease(s, "declared")
	if err := f.restore(f.keys, bytes.NewReader(backup)); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("restoring a backup into a store with refresh tokens returned the error %v, want ErrNotEmpty", err)
	}
}
