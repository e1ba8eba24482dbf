package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/fleetkeys"
)

// refusal is an error that the Store itself returns, as opposed to the database.
type refusal string

func (r refusal) Error() string { return string(r) }

// Errors of a Store. Compare them with errors.Is.
const (
	// ErrUnavailable: the database cannot be reached, or did not answer in time. A change may have
	// been stored nevertheless; its request ID shows that.
	ErrUnavailable refusal = "the store is unavailable"
	// ErrNotFound: there is no credential with this ID.
	ErrNotFound refusal = "there is no such credential in the store"
	// ErrExists: there is a credential with this ID already, which may be deleted.
	ErrExists refusal = "the credential exists already"
	// ErrChanged: the credential was changed after it was read.
	ErrChanged refusal = "the credential was changed in the meantime: read it again"
	// ErrRepeated: a change with the same request key is stored already.
	ErrRepeated refusal = "a request with this ID was stored already"
	// ErrVersionNotFound: a version does not exist, or is destroyed, or cannot be destroyed because
	// it is active or the canary.
	ErrVersionNotFound refusal = "the version does not exist, is destroyed, or is in use"
	// ErrDestroyed: the values of the version were erased.
	ErrDestroyed refusal = "the values of this version were destroyed"
	// ErrDamaged: encrypted data, or something that was authenticated with it, was changed.
	ErrDamaged refusal = "damaged: the encrypted data, or what is bound to it, was changed outside the broker"
	// ErrUnknownKey: the key that encrypted the data is not in the key ring.
	ErrUnknownKey refusal = "encrypted with a key that is not among the store's keys: add that key"
	// ErrUnknownFormat: a newer release encrypted the data.
	ErrUnknownFormat refusal = "encrypted in a format that this release does not know"
	// ErrReplaced: the database was replaced by that of another store while the Store was open.
	ErrReplaced refusal = "the database now contains another store: restart the broker"
)

// orReplaced explains that the row of this store was not found.
func orReplaced(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrReplaced
	}
	return err
}

// open decrypts what the key ring encrypted.
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

// withExtension returns a context that ends if extend is not called for the time callLimit.
func withExtension(ctx context.Context) (limited context.Context, extend, cancel func()) {
	limited, end := context.WithCancelCause(ctx)
	timer := time.AfterFunc(callLimit, func() { end(context.DeadlineExceeded) })
	return limited, func() { timer.Reset(callLimit) }, func() { timer.Stop(); end(nil) }
}
