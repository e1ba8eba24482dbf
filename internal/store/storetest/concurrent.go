package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
)

// missesNothing checks that a reader that polls the store, while several replicas write, sees every
// credential's last state. Each change sets the display name and the value of a new version to the
// same text, so the reader would notice if it saw only a part of a change.
func missesNothing(t *testing.T, f *fixture) {
	const writers, rounds = 4, 25
	reader := f.open()
	for i := range writers {
		f.apply(reader, NewCredential(name(i)))
	}
	replicas := []*store.Store{f.open(), f.open()}
	done := make(chan error, 1)
	go func() {
		done <- errors.Join(together(writers, func(i int) error { return writeRounds(f, replicas[i%2], name(i), rounds) })...)
	}()
	poll := poller{f: f, store: reader, seen: map[string]string{}}
	for ended := false; !ended; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			ended = true
		default:
		}
		poll.once()
	}
	for i := range writers {
		if got, want := poll.seen[name(i)], fmt.Sprint("round ", rounds-1); got != want {
			t.Errorf("the last display name of %s that the reader saw is %q, want %q", name(i), got, want)
		}
	}
}

func writeRounds(f *fixture, s *store.Store, id string, rounds int) error {
	for round := range rounds {
		credential, versions, err := s.Credential(f.context(), id)
		if err != nil {
			return err
		}
		text := fmt.Sprint("round ", round)
		change := update(credential)
		change.Insert = newVersion(len(versions)+1, text)
		credential.DisplayName, credential.ActiveVersion = text, len(versions)+1
		if _, err := s.Apply(f.context(), change); err != nil {
			return err
		}
	}
	return nil
}

// poller reads the changes of the store again and again, as a replica does.
type poller struct {
	f     *fixture
	store *store.Store
	after int64
	seen  map[string]string
}

func (p *poller) once() {
	p.f.t.Helper()
	last := int64(0)
	revision, err := p.store.Changes(p.f.context(), p.after, func(row *store.Row) error {
		c := &row.Credential
		if c.Revision <= p.after || c.Revision < last {
			p.f.t.Errorf("the reader asked for changes after the revision %d, and got the revisions %d and %d in this order", p.after, last, c.Revision)
		}
		last = c.Revision
		values, err := p.store.Values(c, row.Active)
		if err != nil {
			return err
		}
		if row.Active.Number > 1 && !values["password"].Equal(secret.New(c.DisplayName)) {
			p.f.t.Errorf("the credential %s has the display name %q, and the secret value of another change", c.ID, c.DisplayName)
		}
		p.seen[c.ID] = c.DisplayName
		return nil
	})
	if err != nil || revision < last {
		p.f.t.Fatalf("Changes returned the revision %d and the error %v, and the last change had the revision %d", revision, err, last)
	}
	p.after = revision
}
