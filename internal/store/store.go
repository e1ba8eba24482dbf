// Package store keeps managed credentials in a SQL database, and the current refresh tokens of managed
// and declared credentials whose provider rotates them. The values of secret fields and the refresh
// tokens are encrypted. The package does not check who may use a credential, and does not know which
// fields a provider has.
//
// A Store uses a Driver, which adapts the Store to one kind of database. The SQL statements that
// create the tables belong to the Driver. All other SQL statements are in this package, and are the
// same for all databases.
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/secret"
)

// callLimit is the longest time that one call, or one step of a long call, may take.
const callLimit = 10 * time.Second

// Options are the settings of a Store.
type Options struct {
	// Keys are the store keys. New data is encrypted with the first key; any of the keys can
	// decrypt. Required.
	Keys *fleetkeys.Ring
	// Clock gives the times that the Store writes. The default is the system's clock.
	Clock clockwork.Clock
	// Logger receives warnings. The default discards warnings.
	Logger *slog.Logger
}

// Store is an open credential store. A Store is safe for concurrent use, and several processes may
// open the same database.
type Store struct {
	driver Driver
	keys   *fleetkeys.Ring
	clock  clockwork.Clock
	log    *slog.Logger

	id         string
	requestKey secret.Text // HMAC key of Fingerprint
}

// Open migrates the database to the newest schema, and checks that the keys can decrypt the store.
// Open also accepts a database that a newer release migrated. On the first call for a database, Open
// gives the store a random ID.
//
// Open returns ErrUnavailable if the database cannot be reached; the caller can then try again
// later with the same driver. Open returns ErrUnknownKey if the key that encrypted the store is
// missing. If Open fails, the caller must close the driver, and otherwise the Store.
func Open(ctx context.Context, driver Driver, options Options) (*Store, error) {
	s, err := newStore(driver, options)
	if err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		return nil, s.failure(ctx, "migrate the store", err)
	}
	if err := s.identify(ctx); err != nil {
		return nil, s.failure(ctx, "open the store", err)
	}
	return s, nil
}

// newStore returns a Store that is not open yet.
func newStore(driver Driver, options Options) (*Store, error) {
	s := &Store{driver: driver, keys: options.Keys, clock: options.Clock, log: options.Logger}
	if s.keys == nil {
		return nil, errors.New("the store needs at least one key")
	}
	if s.clock == nil {
		s.clock = clockwork.NewRealClock()
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

// identify reads the ID of the store and its request key, the HMAC key of Fingerprint. On the first
// call for a database, identify creates both.
func (s *Store) identify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	sealed, err := s.readIdentity(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		id := randomID()
		_, err = s.driver.Writer().ExecContext(ctx,
			`INSERT INTO store (id, store_id, revision, request_key) VALUES (1, $1, 0, $2) ON CONFLICT (id) DO NOTHING`,
			id, s.keys.Seal(requestKeyContext(id), randomKey()))
		if err != nil {
			return err
		}
		sealed, err = s.readIdentity(ctx) // Another replica may have inserted the row first.
	}
	if err != nil {
		return err
	}
	key, err := s.open(requestKeyContext(s.id), sealed)
	s.requestKey = secret.New(string(key))
	return err
}

func (s *Store) readIdentity(ctx context.Context) (requestKey []byte, err error) {
	err = s.driver.Reader().QueryRowContext(ctx, `SELECT store_id, request_key FROM store`).Scan(&s.id, &requestKey)
	return requestKey, err
}

// ID returns the store's random ID, a string of 32 hexadecimal digits.
func (s *Store) ID() string { return s.id }

// Close closes the Store and its driver.
func (s *Store) Close() error { return s.driver.Close() }

// Listen calls the function `changed` soon after each change by any replica, and whenever a change
// may have been missed. The calls may be late or missing, or come without a change, so poll
// Revision as well. Listen returns when the context ends, or at once if the database cannot report
// changes.
func (s *Store) Listen(ctx context.Context, changed func()) {
	if notifier, ok := s.driver.(Notifier); ok {
		notifier.Listen(ctx, s.log, changed)
	}
}

// Fingerprint returns a keyed digest of the parts of a request's content. All replicas compute the
// same fingerprint. Without the store key, nobody can check whether a guessed content has a given
// fingerprint.
func (s *Store) Fingerprint(parts ...secret.Text) []byte {
	texts := make([]string, len(parts))
	for i, part := range parts {
		texts[i] = part.Reveal()
	}
	return secret.Digest([]byte(s.requestKey.Reveal()), texts...)
}

// now returns the current time with the precision that the database stores.
func (s *Store) now() time.Time { return s.clock.Now().UTC().Truncate(time.Microsecond) }

// failure returns an error that names the operation that failed. If the database was unavailable, or
// did not answer before a deadline, the error wraps ErrUnavailable.
func (s *Store) failure(ctx context.Context, operation string, err error) error {
	var refused refusal
	switch {
	case errors.As(err, &refused):
	case errors.Is(ctx.Err(), context.Canceled):
		err = context.Cause(ctx)
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w: no answer in time", operation, ErrUnavailable)
	case s.driver.Unavailable(err):
		return fmt.Errorf("%s: %w: %w", operation, ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", operation, err)
}

// randomID returns a string of 32 random hexadecimal digits.
func randomID() string {
	data := make([]byte, 16)
	_, _ = rand.Read(data) // rand.Read never fails
	return hex.EncodeToString(data)
}
