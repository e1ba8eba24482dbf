package storetest

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
)

func readsBack(t *testing.T, f *fixture) {
	s := f.open()
	want := store.Credential{
		ID: "mail", DisplayName: "Möwe 🐦", Description: "first line\nsecond 'line' \"$1\" %", Labels: map[string]string{"team": "y", "": "é"},
		Provider: "dataforseo", AuthMethod: "basic", Disabled: true, KeepWarm: true,
		SecretExpireTime: start.Add(time.Hour), ActiveVersion: 1, CanaryCallers: []string{"uid:*"}, DeleteTime: start.Add(time.Minute),
	}
	change := NewCredential("mail")
	change.Credential = &want
	change.Insert.AllowedHosts = []string{"b.example.com", "a.example.com"}
	binary := "\x00\xff binary \u2028"
	change.Insert.Values = map[string]secret.Text{"password": secret.New(canary("mail")), "empty": secret.New(""), "binary": secret.New(binary)}
	change.Insert.Verification = &store.Verification{Outcome: "ACCEPTED", Explanation: "it works", HTTPStatus: 200, Time: start}
	want.Revision = f.apply(s, change)
	want.CreateTime, want.UpdateTime = start, start

	_, rows, _ := f.changes(f.open(), 0)
	credential, versions := f.credential(s, "mail")
	if diff := cmp.Diff(&want, credential) + cmp.Diff(want, rows["mail"].Credential); diff != "" {
		t.Errorf("the stored credential is wrong (-want +got):\n%s", diff)
	}
	version := &store.Version{
		CredentialID: "mail", Number: 1, AllowedHosts: change.Insert.AllowedHosts, PublicValues: change.Insert.PublicValues,
		SecretFields: []string{"binary", "empty", "password"}, CreateTime: start, ActivateTime: start, Creator: "alice",
		Verification: change.Insert.Verification,
	}
	ignored := cmpopts.IgnoreFields(store.Version{}, "ID", "Sealed", "DataKey")
	if diff := cmp.Diff([]*store.Version{version}, versions, ignored) + cmp.Diff(versions[0], rows["mail"].Active); diff != "" {
		t.Errorf("the stored version is wrong (-want +got):\n%s", diff)
	}
	_, metadata, err := s.Credential(t.Context(), "mail")
	if diff := cmp.Diff([]*store.Version{version}, metadata, cmpopts.IgnoreFields(store.Version{}, "ID")); diff != "" || err != nil {
		t.Errorf("the metadata of the version is wrong (-want +got):\n%s%v", diff, err)
	}
	values, err := f.open().Values(credential, versions[0])
	if err != nil || len(values) != 3 || values["password"].Reveal() != canary("mail") || values["binary"].Reveal() != binary || !values["empty"].Equal(secret.New("")) {
		t.Errorf("the decrypted values differ from the stored values, or decryption failed with the error %v", err)
	}
	if bytes.Contains(f.database.Dump(t), []byte(canary("mail"))) {
		t.Error("the database contains the secret without encryption")
	}
}

func createsOnce(t *testing.T, f *fixture) {
	s := f.open()
	f.apply(s, NewCredential("one"))
	if _, err := s.Apply(t.Context(), NewCredential("one")); !errors.Is(err, store.ErrExists) {
		t.Errorf("creating a second credential with the same ID returned the error %v, want ErrExists", err)
	}
	credential, _ := f.credential(s, "one")
	credential.DeleteTime = start
	f.apply(s, update(credential))
	if _, err := s.Apply(t.Context(), NewCredential("one")); !errors.Is(err, store.ErrExists) {
		t.Errorf("creating a credential with the ID of a deleted credential returned the error %v, want ErrExists", err)
	}
	credential, versions := f.credential(s, "one")
	f.wantValue(s, credential, versions[0], canary("one"))
}

func updates(t *testing.T, f *fixture) {
	s := f.open()
	created := f.apply(s, NewCredential("one"))
	f.clock.Advance(time.Hour)
	old, _ := f.credential(s, "one")
	changed, _ := f.credential(s, "one")
	changed.DisplayName, changed.Provider, changed.CreateTime = "new name", "another", start.Add(time.Minute)
	revision := f.apply(s, update(changed))
	if revision <= created {
		t.Errorf("the update has the revision %d, want more than the previous revision %d", revision, created)
	}
	if _, err := s.Apply(t.Context(), update(old)); !errors.Is(err, store.ErrChanged) {
		t.Errorf("an update with an old revision returned the error %v, want ErrChanged", err)
	}
	got, _ := f.credential(s, "one")
	want := *old
	want.DisplayName, want.UpdateTime, want.Revision = "new name", start.Add(time.Hour), revision
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("the updated credential is wrong (-want +got):\n%s", diff)
	}
}

func oneWins(t *testing.T, f *fixture) {
	const callers = 200
	replicas := []*store.Store{f.open(), f.open(), f.open()}
	f.apply(replicas[0], NewCredential("one"))
	before, _ := f.credential(replicas[0], "one")
	errs := together(callers, func(i int) error {
		mine := *before
		mine.DisplayName = name(i)
		_, err := replicas[i%len(replicas)].Apply(f.context(), update(&mine))
		return err
	})
	winner := slices.Index(errs, nil)
	for i, err := range errs {
		if i != winner && !errors.Is(err, store.ErrChanged) {
			t.Errorf("update %d returned the error %v, want ErrChanged", i, err)
		}
	}
	if after, _ := f.credential(replicas[1], "one"); winner < 0 || after.DisplayName != name(winner) {
		t.Errorf("update %d was successful (-1: no update), but the display name is %q", winner, after.DisplayName)
	}
}

func versions(t *testing.T, f *fixture) {
	s := f.open()
	f.apply(s, NewCredential("one"))
	f.clock.Advance(time.Minute)
	credential, _ := f.credential(s, "one")
	change := update(credential)
	change.Insert = newVersion(2, "second")
	credential.CanaryVersion, credential.CanaryCallers = 2, []string{"uid:1000"}
	f.apply(s, change)

	_, rows, revision := f.changes(f.open(), 0)
	row := rows["one"]
	if row.Canary == nil || !row.Canary.ActivateTime.IsZero() || !row.Active.ActivateTime.Equal(start) {
		t.Fatalf("the canary is %+v, or a version has a wrong activation time", row.Canary)
	}
	f.wantValue(s, &row.Credential, row.Active, canary("one"))
	f.wantValue(s, &row.Credential, row.Canary, "second")

	credential = &row.Credential
	credential.ActiveVersion, credential.CanaryVersion, credential.CanaryCallers = 2, 0, nil
	f.apply(s, update(credential))
	ids, rows, _ := f.changes(s, revision)
	row = rows["one"]
	if len(ids) != 1 || row.Canary != nil || row.Active.Number != 2 || !row.Active.ActivateTime.Equal(start.Add(time.Minute)) {
		t.Errorf("after the activation of version 2, the changed credentials are %q, and the active version is %+v", ids, row.Active)
	}
	if _, all := f.credential(s, "one"); len(all) != 2 || all[0].Number != 1 || !all[0].ActivateTime.Equal(start) {
		t.Errorf("the credential has the versions %+v, want two versions, the first one with its old activation time", all)
	}
}

func keepsVersions(t *testing.T, f *fixture) {
	s := f.open()
	f.apply(s, NewCredential("one"))
	if _, err := s.Version(t.Context(), "one", 2); !errors.Is(err, store.ErrVersionNotFound) {
		t.Errorf("reading a missing version returned the error %v, want ErrVersionNotFound", err)
	}
	for what, prepare := range map[string]func(*store.Change){
		"a change that activates a missing version":        func(c *store.Change) { c.Credential.ActiveVersion = 2 },
		"a change that makes a missing version the canary": func(c *store.Change) { c.Credential.CanaryVersion = 2 },
		"a change that destroys the active version":        func(c *store.Change) { c.Destroy = 1 },
		"a change that destroys a missing version":         func(c *store.Change) { c.Destroy = 2 },
	} {
		credential, _ := f.credential(s, "one")
		change := update(credential)
		prepare(&change)
		if _, err := s.Apply(t.Context(), change); !errors.Is(err, store.ErrVersionNotFound) {
			t.Errorf("%s returned the error %v, want ErrVersionNotFound", what, err)
		}
	}
	credential, _ := f.credential(s, "one")
	change := update(credential)
	change.Insert = newVersion(1, "again")
	if _, err := s.Apply(t.Context(), change); !errors.Is(err, store.ErrChanged) {
		t.Errorf("inserting a version whose number is in use returned the error %v, want ErrChanged", err)
	}
}

func storesAllOrNothing(t *testing.T, f *fixture) {
	s := f.open()
	f.apply(s, NewCredential("one"))
	before, versionsBefore := f.credential(s, "one")
	change := update(before)
	change.Insert, change.Destroy = newVersion(2, "second"), 3
	change.Request = &store.Request{RequestKey: store.RequestKey{Caller: "a", Method: "m", CredentialID: "one", RequestID: "r"}, Fingerprint: []byte("f")}
	if _, err := s.Apply(t.Context(), change); !errors.Is(err, store.ErrVersionNotFound) {
		t.Fatal(err)
	}
	after, versionsAfter := f.credential(s, "one")
	if diff := cmp.Diff(before, after) + cmp.Diff(versionsBefore, versionsAfter); diff != "" {
		t.Errorf("a refused change modified the credential or its versions (-before +after):\n%s", diff)
	}
	if events, err := s.Events(t.Context(), "one", 0, 10); len(events) != 1 || err != nil {
		t.Errorf("a refused change stored %d events, or reading the events failed with the error %v", len(events)-1, err)
	}
	if _, found, err := s.Request(t.Context(), change.Request.RequestKey); found || err != nil {
		t.Errorf("a refused change stored its request, or looking for the request failed with the error %v", err)
	}
}
