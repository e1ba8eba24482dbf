package store

import (
	"context"
	"database/sql"
	"errors"
)

// Revision returns the store's revision, which increases with every change. Revision reads only one
// row of the database.
func (s *Store) Revision(ctx context.Context) (revision int64, err error) {
	if s.moved() {
		return 0, s.failure(ctx, "read the store's revision", ErrReplaced)
	}
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	err = s.driver.Reader().QueryRowContext(limited, `SELECT revision FROM store WHERE store_id = $1`, s.id).Scan(&revision)
	if err != nil {
		return 0, s.failure(ctx, "read the store's revision", orReplaced(err))
	}
	return revision, nil
}

// Changes passes to the function `yield` each credential that was changed, verified or re-encrypted
// after the revision `after` of the store, in the order of these changes. Deleted credentials are
// included. If `after` is 0, `yield` gets every credential. Changes returns the revision of the
// store that it read; pass it as `after` to the next call.
//
// If the returned revision is lower than `after`, an older state of the database was restored: call
// Changes again with `after` 0. Changes does not report purged credentials.
//
// If `yield` returns an error, Changes stops and returns that error. The function `yield` may keep
// the rows that it gets, and must not call the Store.
func (s *Store) Changes(ctx context.Context, after int64, yield func(*Row) error) (revision int64, err error) {
	err = s.read(ctx, "read changes", func(ctx context.Context, tx *sql.Tx, extend func()) error {
		err := tx.QueryRowContext(ctx, `SELECT revision FROM store WHERE store_id = $1`, s.id).Scan(&revision)
		if err != nil {
			return orReplaced(err)
		}
		rows, err := tx.QueryContext(ctx, `SELECT `+columnsC+`, `+columnsV+`
			FROM credentials c JOIN versions v ON v.credential_id = c.id AND v.number IN (c.active_version, c.canary_version)
			WHERE c.sequence > $1 ORDER BY c.sequence, c.id`, after)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err returns the error
		return eachCredential(rows, func(row *Row) error {
			defer extend()
			return yield(row)
		})
	})
	return revision, err
}

// eachCredential combines successive rows of the database that belong to the same credential, and
// calls a function for each credential.
func eachCredential(rows *sql.Rows, yield func(*Row) error) error {
	var last *Row
	for rows.Next() {
		row, version := new(Row), new(Version)
		if err := rows.Scan(append(row.Credential.columns(), version.columns()...)...); err != nil {
			return err
		}
		if last != nil && last.Credential.ID != row.Credential.ID {
			if err := yield(last); err != nil {
				return err
			}
			last = nil
		}
		if last == nil {
			last = row
		}
		if version.Number == row.Credential.ActiveVersion {
			last.Active = version
		} else {
			last.Canary = version
		}
	}
	if err := rows.Err(); err != nil || last == nil {
		return err
	}
	return yield(last)
}

// Credential returns a credential, even if it is deleted, and all its versions in the order of their
// numbers, without their encrypted values: see Version. Credential returns ErrNotFound if there is no
// credential with this ID.
func (s *Store) Credential(ctx context.Context, id string) (*Credential, []*Version, error) {
	credential, versions := new(Credential), []*Version(nil)
	err := s.read(ctx, "read a credential", func(ctx context.Context, tx *sql.Tx, _ func()) error {
		err := tx.QueryRowContext(ctx, `SELECT `+columnsC+` FROM credentials c WHERE c.id = $1`, id).Scan(credential.columns()...)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, `SELECT `+metadataV+` FROM versions v WHERE v.credential_id = $1 ORDER BY v.number`, id)
		if err != nil {
			return err
		}
		versions, err = collect(rows, func(v *Version) []any { return v.metadata() })
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return credential, versions, nil
}

// Version returns a version with its encrypted values. Version returns ErrVersionNotFound if there is
// no version with this number.
func (s *Store) Version(ctx context.Context, credentialID string, number int) (*Version, error) {
	v := new(Version)
	err := s.read(ctx, "read a version", func(ctx context.Context, tx *sql.Tx, _ func()) error {
		err := tx.QueryRowContext(ctx, `SELECT `+columnsV+` FROM versions v WHERE v.credential_id = $1 AND v.number = $2`,
			credentialID, number).Scan(v.columns()...)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrVersionNotFound
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// collect reads all rows into structs, and closes the rows.
func collect[T any](rows *sql.Rows, columns func(*T) []any) (all []*T, err error) {
	defer rows.Close() //nolint:errcheck // rows.Err returns the error
	for rows.Next() {
		one := new(T)
		if err := rows.Scan(columns(one)...); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// Events returns up to limit events of a credential, the newest first. If `before` is not 0, Events
// returns only events that are older than the event with the number `before`.
func (s *Store) Events(ctx context.Context, credentialID string, before int64, limit int) (events []*Event, err error) {
	err = s.read(ctx, "read events", func(ctx context.Context, tx *sql.Tx, _ func()) error {
		rows, err := tx.QueryContext(ctx, `SELECT number, credential_id, time, document FROM events
			WHERE credential_id = $1 AND ($2 = 0 OR number < $2) ORDER BY number DESC LIMIT $3`, credentialID, before, limit)
		if err != nil {
			return err
		}
		events, err = collect(rows, func(e *Event) []any {
			return []any{&e.Number, &e.CredentialID, instant{&e.Time}, document{e}}
		})
		return err
	})
	return events, err
}

// Request returns the fingerprint of the stored request with this key, and whether there is such a
// request.
func (s *Store) Request(ctx context.Context, key RequestKey) (fingerprint []byte, found bool, err error) {
	err = s.read(ctx, "read a request", func(ctx context.Context, tx *sql.Tx, _ func()) error {
		err := tx.QueryRowContext(ctx, `SELECT fingerprint FROM requests
			WHERE caller = $1 AND method = $2 AND credential_id = $3 AND request_id = $4`,
			key.Caller, key.Method, key.CredentialID, key.RequestID).Scan(&fingerprint)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		found = err == nil
		return err
	})
	return fingerprint, found, err
}
