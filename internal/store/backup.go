package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"
)

// A backup consists of three parts. The first part is a header, which is one line of JSON. The
// second part is a file in the format of the program age; its key is encrypted with the store key
// and bound to the header. The third part is a trailer with a checksum. The file contains one line
// of JSON for each row of the database.
const (
	backupFormat  = "authmaterial-backup"
	backupVersion = 1
	forBackup     = "authmaterial store v1 backup"
	stanzaType    = "authmaterial-store-key"
)

// tables lists the tables of the store in an order in which their rows can be inserted.
var tables = []string{"store", "credentials", "versions", "events", "requests", "uses", "refresh_tokens"}

// BackupHeader describes a backup. The header is not encrypted, but it is authenticated together
// with the content of the backup.
type BackupHeader struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	// KeyID identifies the store key that encrypts the backup. KeyID is not secret.
	KeyID   string    `json:"key_id"`
	StoreID string    `json:"store_id"`
	Schema  int64     `json:"schema"`
	Time    time.Time `json:"time"`
}

// row is one row of a table. Each value is a string, a number, a boolean, null, or of the type
// binary.
type row struct {
	Table   string   `json:"table"`
	Columns []string `json:"columns"`
	Values  []any    `json:"values"`
}

// binary is a value of a row that consists of bytes.
type binary struct {
	Base64 []byte `json:"base64"`
}

// Backup writes all data of one state of the store, encrypted with the first store key. Other
// processes may use the store during the backup. A backup contains no store keys, so Restore needs
// the same keys. If the writer returns an error, Backup returns the same error.
func (s *Store) Backup(ctx context.Context, out io.Writer) error {
	current, newest, err := s.schema(ctx)
	if err != nil {
		return s.failure(ctx, "back up the store", err)
	}
	if current > newest {
		return fmt.Errorf("a newer release has migrated the store to the schema %d, and this release knows %d: back it up with the newer release", current, newest)
	}
	header := BackupHeader{backupFormat, backupVersion, keyID(s.keys.Header()), s.id, current, s.now()}
	line, err := json.Marshal(header)
	if err != nil {
		return err
	}
	target := &output{Writer: out}
	err = sum(target, func(out io.Writer) error {
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
		encrypted, err := age.Encrypt(out, storeKey{s, line})
		if err != nil {
			return err
		}
		err = s.read(ctx, "back up the store", func(ctx context.Context, tx *sql.Tx, extend func()) error {
			return dump(ctx, tx, encrypted, extend)
		})
		if err != nil {
			return err
		}
		return encrypted.Close()
	})
	return cmp.Or(target.err, err)
}

// output passes data to a writer, and remembers the error of that writer.
type output struct {
	io.Writer

	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	o.err = cmp.Or(o.err, err)
	return n, err
}

// keyID returns the ID of the key that produced the header of an entry.
func keyID(header []byte) string { return hex.EncodeToString(header[1:]) }

// dump writes all rows of all tables as lines of JSON.
func dump(ctx context.Context, tx *sql.Tx, out io.Writer, extend func()) error {
	encoder := json.NewEncoder(out)
	for _, table := range tables {
		rows, err := tx.QueryContext(ctx, `SELECT * FROM `+table) //nolint:gosec // the name of a table
		if err != nil {
			return err
		}
		if err := dumpRows(rows, encoder, table, extend); err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
	}
	return nil
}

func dumpRows(rows *sql.Rows, encoder *json.Encoder, table string, extend func()) error {
	defer rows.Close() //nolint:errcheck // rows.Err returns the error
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	line := row{table, make([]string, len(types)), make([]any, len(types))}
	targets := make([]any, len(types))
	for i, column := range types {
		line.Columns[i], targets[i] = column.Name(), &line.Values[i]
	}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		for i, column := range types {
			line.Values[i] = portable(line.Values[i], column.DatabaseTypeName())
		}
		if err := encoder.Encode(line); err != nil {
			return err
		}
		extend()
	}
	return rows.Err()
}

// `portable` converts a value of a column into the form in which backups of all databases contain it.
func portable(value any, columnType string) any {
	switch value := value.(type) {
	case []byte:
		return binary{value}
	case int64:
		if columnType == "BOOLEAN" { // SQLite stores a boolean as a number.
			return value != 0
		}
	}
	return value
}

// parameters converts the values of a row from a backup into the parameters of an SQL statement.
func (r *row) parameters() ([]any, error) {
	all := make([]any, len(r.Values))
	for i, value := range r.Values {
		switch value := value.(type) {
		case json.Number:
			number, err := value.Int64()
			if err != nil {
				return nil, err
			}
			all[i] = number
		case map[string]any:
			text, _ := value["base64"].(string)
			data, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return nil, err
			}
			all[i] = data
		default:
			all[i] = value
		}
	}
	return all, nil
}

// insertion returns the statement that inserts a row.
func (r *row) insertion() string {
	numbers := make([]string, len(r.Columns))
	for i := range numbers {
		numbers[i] = fmt.Sprint("$", i+1)
	}
	return `INSERT INTO ` + r.Table + ` (` + strings.Join(r.Columns, ", ") + `) VALUES (` + strings.Join(numbers, ", ") + `)`
}

// storeKey encrypts the file key of a backup in the age format with the store key. A file key can
// be decrypted only together with the header of its backup.
type storeKey struct {
	store  *Store
	header []byte
}

func (k storeKey) context() string { return forBackup + " " + string(k.header) }

// Wrap implements age.Recipient.
func (k storeKey) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	return []*age.Stanza{{Type: stanzaType, Body: k.store.keys.Seal(k.context(), fileKey)}}, nil
}

// Unwrap implements age.Identity.
func (k storeKey) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	for _, stanza := range stanzas {
		if stanza.Type == stanzaType {
			return k.store.open(k.context(), bytes.Clone(stanza.Body))
		}
	}
	return nil, ErrDamaged
}
