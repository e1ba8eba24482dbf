package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// UseLimit is the number of most recent uses that the store keeps for one credential.
	UseLimit = 100
	// useBatch is the largest number of uses that are stored in one transaction.
	useBatch = 200
)

// Use counts how often a caller used one version of a credential. The credential may also be
// declared in the configuration file.
type Use struct {
	CredentialID string
	Caller       string
	Version      int
	// Minute is the minute in which the caller last used the version.
	Minute time.Time
	// Count is the number of times that the caller used the version since the store began to keep
	// this Use.
	Count int64
}

// RecordUses adds the given counts to the stored uses. If RecordUses fails, it may have stored some
// of the uses. RecordUses does not change the revision of the store.
func (s *Store) RecordUses(ctx context.Context, uses []Use) error {
	sorted := slices.SortedFunc(slices.Values(uses), func(a, b Use) int { return cmp.Compare(a.CredentialID, b.CredentialID) })
	for batch := range slices.Chunk(sorted, useBatch) {
		if err := s.exclusive(ctx, "store uses", 0, func(w *writer) error { return w.recordUses(batch) }); err != nil {
			return err
		}
	}
	return nil
}

// recordUses stores uses, which must be sorted by credential, by one statement, and removes the least
// recent uses of their credentials by another.
func (w *writer) recordUses(uses []Use) error {
	var rows, ids placeholders
	for i, use := range uses {
		minute := use.Minute.Truncate(time.Minute)
		rows.add(use.CredentialID, use.Caller, use.Version, instant{&minute}, use.Count)
		if i == 0 || uses[i-1].CredentialID != use.CredentialID {
			ids.add(use.CredentialID)
		}
	}
	_, err := w.exec(`INSERT INTO uses (credential_id, caller, version, minute, count) VALUES `+rows.text+`
		ON CONFLICT (credential_id, caller, version) DO UPDATE SET count = uses.count + excluded.count,
		minute = CASE WHEN uses.minute > excluded.minute THEN uses.minute ELSE excluded.minute END`, rows.values...)
	if err != nil {
		return err
	}
	_, err = w.exec(`DELETE FROM uses WHERE (credential_id, caller, version) IN (
		SELECT credential_id, caller, version FROM (
			SELECT credential_id, caller, version,
				row_number() OVER (PARTITION BY credential_id ORDER BY minute DESC, caller, version) AS place
			FROM uses WHERE credential_id IN (`+ids.text+`)) AS placed
		WHERE place > `+strconv.Itoa(UseLimit)+`)`, ids.values...)
	return err
}

// placeholders are parameters of a statement.
type placeholders struct {
	text   string // such as "($1, $2), ($3, $4)"
	values []any
}

// add adds a row of parameters.
func (p *placeholders) add(values ...any) {
	if p.text != "" {
		p.text += ", "
	}
	marks := make([]string, len(values))
	for i := range values {
		marks[i] = "$" + strconv.Itoa(len(p.values)+i+1)
	}
	p.text += "(" + strings.Join(marks, ", ") + ")"
	p.values = append(p.values, values...)
}

// LastUses returns the minute in which each of the given credentials was last used. Credentials that
// were never used are missing.
func (s *Store) LastUses(ctx context.Context, credentialIDs []string) (last map[string]time.Time, err error) {
	last = map[string]time.Time{}
	if len(credentialIDs) == 0 {
		return last, nil
	}
	marks, values := make([]string, len(credentialIDs)), make([]any, len(credentialIDs))
	for i, id := range credentialIDs {
		marks[i], values[i] = "$"+strconv.Itoa(i+1), id
	}
	err = s.read(ctx, "read last uses", func(ctx context.Context, tx *sql.Tx, _ func()) error {
		//nolint:gosec // the added text consists of placeholders only
		rows, err := tx.QueryContext(ctx, `SELECT credential_id, MAX(minute) FROM uses
			WHERE credential_id IN (`+strings.Join(marks, ", ")+`) GROUP BY credential_id`, values...)
		if err != nil {
			return err
		}
		uses, err := collect(rows, func(u *Use) []any { return []any{&u.CredentialID, instant{&u.Minute}} })
		for _, use := range uses {
			last[use.CredentialID] = use.Minute
		}
		return err
	})
	return last, err
}

// Uses returns up to UseLimit uses of a credential, the most recent first.
func (s *Store) Uses(ctx context.Context, credentialID string) (uses []*Use, err error) {
	err = s.read(ctx, "read uses", func(ctx context.Context, tx *sql.Tx, _ func()) error {
		rows, err := tx.QueryContext(ctx, `SELECT credential_id, caller, version, minute, count FROM uses
			WHERE credential_id = $1 ORDER BY minute DESC, caller, version LIMIT $2`, credentialID, UseLimit)
		if err != nil {
			return err
		}
		uses, err = collect(rows, func(u *Use) []any {
			return []any{&u.CredentialID, &u.Caller, &u.Version, instant{&u.Minute}, &u.Count}
		})
		return err
	})
	return uses, err
}
