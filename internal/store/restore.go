package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"filippo.io/age"
)

const (
	headerLimit = 4 << 10 // the largest size of a backup's header in bytes
	// refreshTokenSchema is the first schema with the table refresh_tokens.
	refreshTokenSchema = 2
)

// Restore writes the data of a backup into a database that has no credentials, no events and no refresh tokens. This
// database may be of another kind than the original. The restored store has the ID of the original.
// Restore writes all data or none. Afterwards, restart the brokers that have the database open.
//
// Restore can return ErrNotBackup, ErrTruncated, ErrDamaged, ErrUnknownKey and ErrNotEmpty. If a
// newer release made the backup, Restore returns ErrUnknownFormat. The caller must close the
// driver.
func Restore(ctx context.Context, driver Driver, options Options, in io.Reader) error {
	s, err := newStore(driver, options)
	if err != nil {
		return err
	}
	content := newSummed(in)
	header, line, err := readHeader(content)
	if err != nil {
		return err
	}
	s.id = header.StoreID
	err = s.restore(ctx, header, content, storeKey{s, line})
	var failed unreadable
	if errors.As(err, &failed) {
		err = failed.reason(content, header)
	}
	if err != nil {
		return s.failure(ctx, "restore the backup", err)
	}
	return nil
}

// CheckBackup reads a whole backup, and returns its header. CheckBackup returns the same errors as
// Restore, but needs no database, so a caller can check a backup before it creates a database.
func CheckBackup(options Options, in io.Reader) (*BackupHeader, error) {
	s, err := newStore(nil, options)
	if err != nil {
		return nil, err
	}
	content := newSummed(in)
	header, line, err := readHeader(content)
	if err != nil {
		return nil, err
	}
	s.id = header.StoreID
	rows, err := age.Decrypt(content, storeKey{s, line})
	if err == nil {
		_, err = io.Copy(io.Discard, rows)
	}
	if err != nil {
		err = unreadable{err}.reason(content, header)
	} else {
		err = content.verify()
	}
	if err != nil {
		return nil, fmt.Errorf("restore the backup: %w", err)
	}
	return header, nil
}

// readHeader reads the header, and returns the decoded header and its line without the line break.
func readHeader(content *summed) (*BackupHeader, []byte, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < headerLimit; line = append(line, one[0]) {
		if _, err := io.ReadFull(content, one); err != nil {
			break
		}
		if one[0] == '\n' {
			break
		}
	}
	header := new(BackupHeader)
	switch err := json.Unmarshal(line, header); {
	case err != nil || header.Format != backupFormat:
		return nil, nil, fmt.Errorf("restore the backup: %w", ErrNotBackup)
	case header.Version != backupVersion:
		return nil, nil, fmt.Errorf("restore the backup: format version %d: %w", header.Version, ErrUnknownFormat)
	}
	return header, line, nil
}

// unreadable is an error of the backup, and not of the database.
type unreadable struct{ error }

func (u unreadable) Unwrap() error { return u.error }

// reason returns why a backup cannot be read. The checksum shows whether the backup is truncated or
// damaged, or encrypted with another key.
func (u unreadable) reason(content *summed, header *BackupHeader) error {
	if err := content.verify(); err != nil {
		return err
	}
	if errors.Is(u, ErrUnknownKey) {
		return fmt.Errorf("%w (the ID of the key is %s)", ErrUnknownKey, header.KeyID)
	}
	return ErrDamaged
}

// restore migrates the database to the schema of the backup, inserts the rows, and then migrates
// the database to the newest schema.
func (s *Store) restore(ctx context.Context, header *BackupHeader, content *summed, key age.Identity) error {
	rows, err := age.Decrypt(content, key)
	if err != nil {
		return unreadable{err}
	}
	provider, err := s.driver.Migrations(s.log)
	if err != nil {
		return err
	}
	current, newest, err := provider.GetVersions(ctx)
	switch {
	case err != nil:
		return err
	case header.Schema > newest:
		return fmt.Errorf("schema %d: %w", header.Schema, ErrUnknownFormat)
	case current > header.Schema:
		return fmt.Errorf("the database has the schema %d, and the backup has the schema %d: %w", current, header.Schema, ErrNotEmpty)
	}
	if _, err := provider.UpTo(ctx, header.Schema); err != nil {
		return err
	}
	limited, extend, cancel := withExtension(ctx)
	defer cancel()
	err = inTransaction(limited, s.driver.Writer(), nil, func(tx *sql.Tx) error {
		for _, step := range []func() error{
			func() error { return clearStore(limited, tx, header.Schema) },
			func() error { return insertRows(limited, tx, rows, extend) },
			content.verify,
			func() error { return s.checkIdentity(limited, tx) },
		} {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.migrate(ctx)
}

// clearStore checks that the database has no credentials, no events and no refresh tokens, and removes
// all other rows, such as the ID of an empty store.
func clearStore(ctx context.Context, tx *sql.Tx, schema int64) error {
	// This statement must be the first: it locks the row of the store, and with it the whole store,
	// until the transaction ends.
	if _, err := tx.ExecContext(ctx, `DELETE FROM store`); err != nil {
		return err
	}
	var found int
	query := `SELECT (SELECT count(*) FROM credentials) + (SELECT count(*) FROM events)`
	if schema >= refreshTokenSchema {
		query += ` + (SELECT count(*) FROM refresh_tokens)`
	}
	err := tx.QueryRowContext(ctx, query).Scan(&found)
	if err == nil && found > 0 {
		return ErrNotEmpty
	}
	for _, statement := range []string{`DELETE FROM requests`, `DELETE FROM uses`} {
		if err == nil {
			_, err = tx.ExecContext(ctx, statement)
		}
	}
	return err
}

var columnName = regexp.MustCompile(`^[a-z_]+$`)

// insertRows inserts the rows of a backup.
func insertRows(ctx context.Context, tx *sql.Tx, in io.Reader, extend func()) error {
	decoder := json.NewDecoder(in)
	decoder.UseNumber()
	for {
		var line row
		err := decoder.Decode(&line)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = line.check()
		}
		if err != nil {
			return unreadable{err}
		}
		values, err := line.parameters()
		if err != nil {
			return unreadable{err}
		}
		if _, err := tx.ExecContext(ctx, line.insertion(), values...); err != nil {
			return fmt.Errorf("table %s: %w", line.Table, err)
		}
		extend()
	}
}

// check checks the names of the table and the columns in a row, because they become part of an SQL
// statement.
func (r *row) check() error {
	badName := func(name string) bool { return !columnName.MatchString(name) }
	if !slices.Contains(tables, r.Table) || len(r.Columns) != len(r.Values) || slices.ContainsFunc(r.Columns, badName) {
		return errors.New("this line is not a row of the store")
	}
	return nil
}

// checkIdentity checks that the restored store has the ID of the header, and that the keys can
// decrypt the store.
func (s *Store) checkIdentity(ctx context.Context, tx *sql.Tx) error {
	var id string
	var sealed []byte
	if err := tx.QueryRowContext(ctx, `SELECT store_id, request_key FROM store`).Scan(&id, &sealed); err != nil {
		return err
	}
	if id != s.id {
		return ErrDamaged
	}
	_, err := s.open(requestKeyContext(id), bytes.Clone(sealed))
	return err
}
