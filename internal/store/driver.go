package store

import (
	"context"
	"database/sql"
	"log/slog"
)

// Driver adapts a Store to one kind of database. A Driver is safe for concurrent use. The database
// accepts parameters of the form $1, and knows RETURNING and ON CONFLICT.
type Driver interface {
	// Migrate brings the schema to the newest version that the driver knows. It may be called by
	// several replicas at once. A schema that is newer already is left as it is.
	Migrate(ctx context.Context, log *slog.Logger) error
	// Writer returns the connections for statements and transactions that write.
	Writer() *sql.DB
	// Reader returns the connections that only read. A transaction with ReadOnly and
	// LevelRepeatableRead reads one state of the database.
	Reader() *sql.DB
	// Unavailable reports whether an error of a statement says that the database could not be
	// reached or did not accept the statement for now, so that a later attempt may succeed.
	Unavailable(err error) bool
	// Close closes all connections.
	Close() error
}

// Notifier is implemented by a Driver whose database reports changes to other processes.
type Notifier interface {
	// Notify reports a change when the transaction is committed.
	Notify(ctx context.Context, tx *sql.Tx) error
	// Listen calls the function for each reported change, and after each time that the connection
	// was lost. Listen returns when the context ends.
	Listen(ctx context.Context, log *slog.Logger, changed func())
}

// Eraser is implemented by a Driver whose database keeps copies of overwritten data.
type Eraser interface {
	// Erase removes the copies.
	Erase(ctx context.Context) error
}

// snapshot are the options of a transaction that reads one state of the database.
var snapshot = &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}

// write runs a function in one transaction, under the next revision of the store. Calls of write
// happen one after the other, in all replicas, so revisions are committed in their order.
func (s *Store) write(ctx context.Context, operation string, change func(ctx context.Context, tx *sql.Tx, revision int64) error) (revision int64, err error) {
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	err = inTransaction(limited, s.driver.Writer(), nil, func(tx *sql.Tx) error {
		// This statement locks the row until the transaction ends.
		err := tx.QueryRowContext(limited, `UPDATE store SET revision = revision + 1 WHERE store_id = $1 RETURNING revision`, s.id).Scan(&revision)
		if err != nil {
			return orReplaced(err)
		}
		if err := change(limited, tx, revision); err != nil {
			return err
		}
		if notifier, ok := s.driver.(Notifier); ok {
			return notifier.Notify(limited, tx)
		}
		return nil
	})
	if err != nil {
		return 0, s.failure(ctx, operation, err)
	}
	return revision, nil
}

// read runs a function in a transaction that reads one state of the database. The function must
// call extend at least once in every callLimit.
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
	defer tx.Rollback() //nolint:errcheck // has no effect after Commit
	if err := run(tx); err != nil {
		return err
	}
	return tx.Commit()
}
