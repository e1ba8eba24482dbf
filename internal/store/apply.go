package store

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"

	"github.com/authmaterial/broker/internal/secret"
)

// Change is a change of one credential. Apply stores all parts of a Change together, or none.
type Change struct {
	// Credential is the new state of the credential. Credential.Revision is the revision at which the
	// caller read the credential, or 0 to create the credential. Required.
	Credential *Credential
	// Insert is a new version of the credential, or nil. If the credential is new, Insert is its
	// version 1.
	Insert *NewVersion
	// Destroy is the number of a version whose values are erased, or 0.
	Destroy int
	// Event describes the change in the credential's history. The Store sets Event.CredentialID.
	// Required.
	Event *Event
	// Request is the request that caused the change, or nil.
	Request *Request
}

// NewVersion is a new version of a credential, with values that are not encrypted yet.
type NewVersion struct {
	// Number must not be the number of another version of the credential. Required.
	Number       int
	AllowedHosts []string
	PublicValues map[string]string
	// Values are the values of the secret fields, which the Store encrypts.
	Values       map[string]secret.Text
	Creator      string
	Verification *Verification
}

// Apply stores a change, and returns the new revision of the store. When Apply returns, the change
// survives a crash.
//
// Apply returns ErrRepeated if a change with the same request key is stored already, ErrExists if
// the ID of a new credential is in use, ErrNotFound if the credential to be changed does not exist,
// and ErrChanged if somebody else changed the credential after the caller read it. Apply returns
// ErrVersionNotFound if the versions that the credential names, or the version to be destroyed, do
// not exist.
func (s *Store) Apply(ctx context.Context, change Change) (revision int64, err error) {
	revision, err = s.write(ctx, "store a change", func(w *writer) error { return w.apply(change) })
	if err == nil && change.Destroy != 0 {
		s.erase(ctx)
	}
	return revision, err
}

// erase removes copies of overwritten data from the database. If erase fails, or if the process
// ends before erase has run, the copies remain until the next call of Purge.
func (s *Store) erase(ctx context.Context) {
	eraser, ok := s.driver.(Eraser)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callLimit)
	defer cancel()
	if err := eraser.Erase(ctx); err != nil {
		s.log.Warn("encrypted copies of destroyed values or replaced keys remain in the database's journal until the next purge", "error", err)
	}
}

func (w *writer) apply(change Change) error {
	c := *change.Credential
	for _, step := range []func() error{
		func() error { return w.insertRequest(change.Request) },
		func() error { return w.putCredential(c) },
		func() error { return w.insertVersion(c, change.Insert) },
		func() error { return w.destroy(c.ID, change.Destroy) },
		func() error { return w.activate(c) },
		func() error { return w.checkVersions(c) },
		func() error { return w.insertEvent(c.ID, change.Event) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// Record stores an event without changing the credential's revision. If the verification is not
// nil, Record also stores the verification in the version that the event names, and returns
// ErrVersionNotFound if that version does not exist.
func (s *Store) Record(ctx context.Context, event *Event, verification *Verification) error {
	_, err := s.write(ctx, "store an event", func(w *writer) error {
		if verification != nil {
			if err := w.verify(event, verification); err != nil {
				return err
			}
		}
		return w.insertEvent(event.CredentialID, event)
	})
	return err
}

// state returns the revision of a credential and the number of its active version.
func (w *writer) state(id string) (revision int64, active int, err error) {
	err = w.tx.QueryRowContext(w.ctx, `SELECT revision, active_version FROM credentials WHERE id = $1`, id).Scan(&revision, &active)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, ErrNotFound
	}
	return revision, active, err
}

// newVersion returns the row of a version, with encrypted values.
func (w *writer) newVersion(c Credential, n *NewVersion) (*Version, error) {
	v := &Version{
		CredentialID: c.ID, Number: n.Number, ID: randomID(),
		AllowedHosts: n.AllowedHosts, PublicValues: n.PublicValues,
		SecretFields: slices.Sorted(maps.Keys(n.Values)),
		CreateTime:   w.now, Creator: n.Creator, Verification: n.Verification,
	}
	return v, w.seal(&c, v, n.Values)
}
