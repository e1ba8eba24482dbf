package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/fleetkeys"
)

// refusal is the type of the Store's own errors, in contrast to errors of the database.
type refusal string

func (r refusal) Error() string { return string(r) }

// A Store returns errors that wrap these errors, so use errors.Is to recognise them.
const (
	// ErrUnavailable means that the database cannot be reached, or did not answer in time. The change
	// may have been stored nevertheless: if so, Store.Request finds the request of the change.
	ErrUnavailable refusal = "the store is unavailable"
	// ErrNotFound means that no credential in the store has this ID.
	ErrNotFound refusal = "there is no such credential in the store"
	// ErrExists means that another credential, which may be deleted, has this ID already.
	ErrExists refusal = "the credential exists already"
	// ErrChanged means that somebody else changed the credential after the caller read it.
	ErrChanged refusal = "the credential was changed in the meantime: read it again"
	// ErrRepeated means that a change with the same request key is stored already.
	ErrRepeated refusal = "a request with this ID was stored already"
	// ErrVersionNotFound means that a version does not exist, is destroyed, or cannot be destroyed
	// because it is the active version or the canary.
	ErrVersionNotFound refusal = "the version does not exist, is destroyed, or is in use"
	// ErrLeased means that another caller, which may be another replica, uses the refresh token.
	ErrLeased refusal = "the refresh token is being used"
	// ErrDestroyed means that the values of the version were erased.
	ErrDestroyed refusal = "the values of this version were destroyed"
	// ErrDamaged means that somebody changed encrypted data, or data that is authenticated together
	// with the encrypted data.
	ErrDamaged refusal = "damaged: the encrypted data, or what is bound to it, was changed outside the broker"
	// ErrUnknownKey means that the key that encrypted the data is not in the key ring.
	ErrUnknownKey refusal = "encrypted with a key that is not among the store's keys: add that key"
	// ErrUnknownFormat means that a newer release of the broker encrypted the data.
	ErrUnknownFormat refusal = "encrypted in a format that this release does not know"
	// ErrNotBackup means that the file is not a backup of a store.
	ErrNotBackup refusal = "this is not a backup of a credential store, or its beginning is damaged or missing"
	// ErrTruncated means that the last bytes of the file are not the trailer of a backup.
	ErrTruncated refusal = "the end of the backup is missing, or is followed by other data"
	// ErrNotEmpty means that the database already contains credentials, events or refresh tokens.
	ErrNotEmpty refusal = "the database is in use: restore the backup into a new, empty database"
	// ErrReplaced means that the database was deleted, or now belongs to another store than when the
	// Store was opened.
	ErrReplaced refusal = "the database was deleted, or now contains another store: restart the broker"
)

// orReplaced returns ErrReplaced if a query did not find the row of this store, and otherwise err.
func orReplaced(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrReplaced
	}
	return err
}

// `open` decrypts data that the key ring encrypted with the same context.
func (s *Store) open(context string, sealed []byte) ([]byte, error) {
	plain, err := s.keys.Open(context, sealed)
	switch {
	case errors.Is(err, fleetkeys.ErrUnknownKey):
		return nil, ErrUnknownKey
	case errors.Is(err, fleetkeys.ErrUnknownFormat):
		return nil, ErrUnknownFormat
	case err != nil:
		return nil, ErrDamaged
	}
	return plain, nil
}

// withExtension returns a context that is cancelled if extend is not called for the time callLimit.
func withExtension(ctx context.Context) (limited context.Context, extend, cancel func()) {
	limited, end := context.WithCancelCause(ctx)
	timer := time.AfterFunc(callLimit, func() { end(context.DeadlineExceeded) })
	return limited, func() { timer.Reset(callLimit) }, func() { timer.Stop(); end(nil) }
}
