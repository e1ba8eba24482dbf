package store

import (
	"context"
	"database/sql"
	"log/slog"

	"github.com/pressly/goose/v3"
)

// Driver adapts a Store to one kind of database. A Driver is safe for concurrent use. The SQL of the
// database must support parameters of the form $1, RETURNING and ON CONFLICT.
type Driver interface {
	// Migrations returns the migrations of the schema. Several replicas may run the migrations at
	// once.
	Migrations(log *slog.Logger) (*goose.Provider, error)
	// Writer returns the connections for statements and transactions that write.
	Writer() *sql.DB
	// Reader returns the connections that only read. If a transaction has the options ReadOnly and
	// LevelRepeatableRead, all its queries see the same state of the database.
	Reader() *sql.DB
	// Unavailable reports whether a statement failed for a temporary reason: the database could not
	// be reached, or did not accept the statement at the time.
	Unavailable(err error) bool
	// Now returns an SQL expression for the present time of the database's clock, in microseconds
	// since 1970.
	Now() string
	// Close closes all connections.
	Close() error
}

// Notifier is implemented by a Driver whose database reports changes to other processes.
type Notifier interface {
	// Notify reports a change when the transaction is committed.
	Notify(ctx context.Context, tx *sql.Tx) error
	// Listen calls the function `changed` for each reported change, and also whenever Listen has
	// lost and restored its connection. Listen returns when the context ends.
	Listen(ctx context.Context, log *slog.Logger, changed func())
}

// Eraser is implemented by a Driver whose database keeps copies of overwritten data.
type Eraser interface {
	// Erase removes the copies of overwritten data.
	Erase(ctx context.Context) error
}

// Locator is implemented by a Driver whose database is a file.
type Locator interface {
	// Moved reports whether the file was deleted or replaced by another file. The driver still uses
	// the previous file, so the next start would not find changes that the driver stores.
	Moved() bool
}

// snapshot contains the options of a transaction whose queries all see the same state of the
// database.
var snapshot = &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}

// write runs a function in one transaction, which gets the next revision of the store. In all
// replicas together, only one such transaction runs at a time, so transactions are committed in the
// order of their revisions.
func (s *Store) write(ctx context.Context, operation string, change func(w *writer) error) (revision int64, err error) {
	err = s.exclusive(ctx, operation, 1, func(w *writer) error {
		revision = w.revision
		if err := change(w); err != nil {
			return err
		}
		if notifier, ok := s.driver.(Notifier); ok {
			return notifier.Notify(w.ctx, w.tx)
		}
		return nil
	})
	return revision, err
}

// exclusive runs a function in one transaction, and adds a number to the store's revision. Among
// all replicas, only one call of exclusive runs at a time.
func (s *Store) exclusive(ctx context.Context, operation string, add int, change func(w *writer) error) error {
	if s.moved() {
		return s.failure(ctx, operation, ErrReplaced)
	}
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	w := &writer{Store: s, ctx: limited, now: s.now()}
	err := inTransaction(limited, s.driver.Writer(), nil, func(tx *sql.Tx) error {
		// This statement locks the row of the store until the transaction ends.
		w.tx = tx
		err := tx.QueryRowContext(limited, `UPDATE store SET revision = revision + $2 WHERE store_id = $1 RETURNING revision`,
			s.id, add).Scan(&w.revision)
		if err != nil {
			return orReplaced(err)
		}
		return change(w)
	})
	if err != nil {
		return s.failure(ctx, operation, err)
	}
	return nil
}

func (s *Store) moved() bool {
	locator, ok := s.driver.(Locator)
	return ok && locator.Moved()
}

// read runs a function in a transaction whose queries all see the same state of the database. The
// transaction is aborted if the function does not call extend for the time callLimit.
func (s *Store) read(ctx context.Context, operation string, query func(ctx context.Context, tx *sql.Tx, extend func()) error) error {
	limited, extend, cancel := withExtension(ctx)
	defer cancel()
	err := inTransaction(limited, s.driver.Reader(), snapshot, func(tx *sql.Tx) error { return query(limited, tx, extend) })
	if err != nil && context.Cause(limited) != nil {
		err = context.Cause(limited)
	}
	if err != nil {
		return s.failure(ctx, operation, err)
	}
	return nil
}

func inTransaction(ctx context.Context, db *sql.DB, options *sql.TxOptions, run func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, options)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // Rollback has no effect after Commit
	if err := run(tx); err != nil {
		return err
	}
	return tx.Commit()
}
