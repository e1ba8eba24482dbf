package storetest

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/testing/processtest"
)

const (
	// crashAddress is the name of an environment variable, which is set only in the process that
	// Crash kills. Its value is the address of the database.
	crashAddress = "STORETEST_CRASH"
	// acknowledged is the beginning of each line that the killed process prints for a stored
	// change.
	acknowledged = "acknowledged "

	crashChanges     = 1000
	crashCredentials = 50
)

// Crash runs a process that stores 1,000 changes, kills it with SIGKILL at a random moment, and
// checks that every acknowledged change is complete and no other change is partial. The name of the
// test that calls Crash must be unique. The function `create` returns the address of a new
// database, and `open` opens the database, also in the process that is killed. After the process
// was killed, Crash calls the function `during`, if it is not nil.
//
// Crash kills two processes in turn, or ten if the environment variable BROKER_STRESS is set.
func Crash(t *testing.T, create func(*testing.T) (address string), open func(address string) (store.Driver, error), during func()) {
	if address := os.Getenv(crashAddress); address != "" {
		f := newFixture(t, Database{Open: func() (store.Driver, error) { return open(address) }}, fixtureRing(t))
		f.writeUntilKilled()
		return
	}
	rounds := 2
	if os.Getenv("BROKER_STRESS") != "" {
		rounds = 10
	}
	for range rounds {
		address := create(t)
		f := newFixture(t, Database{Open: func() (store.Driver, error) { return open(address) }}, fixtureRing(t))
		revisions := f.killWriter(address, rand.IntN(crashChanges)) //nolint:gosec // not a secret
		if during != nil {
			during()
		}
		f.checkAfterCrash(revisions)
	}
}

// writeUntilKilled stores changes, and prints the revision of each.
func (f *fixture) writeUntilKilled() {
	s := f.open()
	for i := range crashChanges {
		id, text := name(i%crashCredentials), fmt.Sprint("change ", i)
		change := NewCredential(id)
		if i >= crashCredentials {
			credential, versions := f.credential(s, id)
			change = update(credential)
			credential.ActiveVersion = len(versions) + 1
		}
		change.Credential.DisplayName = text
		change.Insert = newVersion(change.Credential.ActiveVersion, text)
		change.Request = &store.Request{RequestKey: store.RequestKey{CredentialID: id, RequestID: text}, Fingerprint: []byte(text)}
		_, _ = fmt.Fprintln(os.Stdout, acknowledged, f.apply(s, change)) // a pipe, which is not buffered
	}
	select {}
}

// killWriter runs a process, kills it some time after it has acknowledged a given number of
// changes, and returns the acknowledged revisions.
func (f *fixture) killWriter(address string, after int) (revisions []int64) {
	f.t.Helper()
	self, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	command := exec.CommandContext(f.t.Context(), self, "-test.run=^"+f.t.Name()+"$", "-test.v") //nolint:gosec // this program
	command.Env = append(os.Environ(), crashAddress+"="+address)
	output, input, err := os.Pipe()
	if err != nil {
		f.t.Fatal(err)
	}
	command.Stdout, command.Stderr = input, os.Stderr
	process, err := processtest.Start(command)
	if err != nil {
		f.t.Fatal(err)
	}
	_ = input.Close() // the process has its own descriptor of the pipe
	for lines := bufio.NewScanner(output); lines.Scan(); {
		var revision int64
		if _, text, found := strings.Cut(lines.Text(), acknowledged); !found {
			continue
		} else if _, err := fmt.Sscan(text, &revision); err != nil {
			f.t.Fatal(err)
		}
		if revisions = append(revisions, revision); len(revisions) == after+1 {
			process.Kill() // lines that are in the pipe already are read afterwards
		}
	}
	if len(revisions) <= after {
		f.t.Fatalf("the process ended by itself after %d changes, in the state %v", len(revisions), process.State())
	}
	return revisions
}

// checkAfterCrash checks that all acknowledged changes are stored, and that each stored change is
// complete.
func (f *fixture) checkAfterCrash(revisions []int64) {
	f.t.Helper()
	s := f.open()
	ids, _, revision := f.changes(s, 0)
	stored := map[int64]bool{}
	for _, id := range ids {
		for _, number := range f.checkComplete(s, id) {
			stored[number] = true
		}
	}
	for _, number := range revisions {
		if !stored[number] {
			f.t.Errorf("the change with the revision %d was acknowledged, but is not stored", number)
		}
	}
	// At most one change may be stored without an acknowledgement.
	if extra := len(stored) - len(revisions); extra < 0 || extra > 1 || int64(len(stored)) != revision {
		f.t.Errorf("%d changes were acknowledged and %d are stored, want at most one more; the revision of the store is %d", len(revisions), len(stored), revision)
	}
	if last := slices.Max(slices.Collect(maps.Keys(stored))); last != revision {
		f.t.Errorf("the last stored change has the revision %d, but the store has the revision %d", last, revision)
	}
}

// checkComplete checks that all parts of all changes of a credential are stored, and returns the
// revisions of these changes.
func (f *fixture) checkComplete(s *store.Store, id string) (revisions []int64) {
	f.t.Helper()
	credential, versions := f.credential(s, id)
	events, err := s.Events(f.t.Context(), id, 0, crashChanges)
	if err != nil || len(events) != len(versions) || events[0].Number != credential.Revision || credential.ActiveVersion != len(versions) {
		f.t.Fatalf("the credential %s has %d events and %d versions, want equal numbers; version %d is active, and the error is %v", id, len(events), len(versions), credential.ActiveVersion, err)
	}
	for _, v := range versions {
		values, err := s.Values(credential, v)
		if err != nil {
			f.t.Fatal(err)
		}
		text := values["password"]
		last := v.Number == credential.ActiveVersion
		if last != text.Equal(secret.New(credential.DisplayName)) {
			f.t.Errorf("the display name and version %d of the credential %s are from different changes", v.Number, id)
		}
		key := store.RequestKey{CredentialID: id, RequestID: text.Reveal()}
		if _, found, err := s.Request(f.t.Context(), key); !found || err != nil {
			f.t.Errorf("the request that created version %d of the credential %s was not found; the error is %v", v.Number, id, err)
		}
	}
	for _, event := range events {
		revisions = append(revisions, event.Number)
	}
	return revisions
}
