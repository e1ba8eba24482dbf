package store

import (
	"bytes"
	"context"
	"database/sql"
)

// Report is what Check found.
type Report struct {
	Credentials int
	Versions    int
	// Destroyed is the number of versions that are destroyed.
	Destroyed int
	// Outdated is the number of versions that were encrypted with another key than the first store
	// key.
	Outdated int
	Problems []Problem
}

// Problem is a version that cannot be used.
type Problem struct {
	CredentialID string
	Version      int
	// Err is ErrDamaged, ErrUnknownKey or ErrUnknownFormat. If an active version or a canary is
	// missing or destroyed, Err is ErrVersionNotFound.
	Err error
}

// Check decrypts all versions, and reports the versions that cannot be used.
func (s *Store) Check(ctx context.Context) (*Report, error) {
	report := new(Report)
	err := s.read(ctx, "check the store", func(ctx context.Context, tx *sql.Tx, extend func()) error {
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM credentials`).Scan(&report.Credentials); err != nil {
			return err
		}
		missing, err := tx.QueryContext(ctx, `SELECT c.id, CASE WHEN a.number IS NULL THEN c.active_version ELSE c.canary_version END FROM credentials c
			LEFT JOIN versions a ON a.credential_id = c.id AND a.number = c.active_version AND a.destroy_time = 0
			LEFT JOIN versions k ON k.credential_id = c.id AND k.number = c.canary_version AND k.destroy_time = 0
			WHERE a.number IS NULL OR (c.canary_version <> 0 AND k.number IS NULL) ORDER BY c.id`)
		if err != nil {
			return err
		}
		problems, err := collect(missing, func(p *Problem) []any { return []any{&p.CredentialID, &p.Version} })
		if err != nil {
			return err
		}
		for _, p := range problems {
			p.Err = ErrVersionNotFound
			report.Problems = append(report.Problems, *p)
		}
		rows, err := tx.QueryContext(ctx, `SELECT `+keyedColumns+` FROM versions v JOIN credentials c ON c.id = v.credential_id
			ORDER BY v.credential_id, v.number`)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err returns the error
		for rows.Next() {
			k := new(keyed)
			if err := rows.Scan(k.columns()...); err != nil {
				return err
			}
			s.checkVersion(report, k)
			extend()
		}
		return rows.Err()
	})
	return report, err
}

func (s *Store) checkVersion(report *Report, k *keyed) {
	report.Versions++
	if !k.DestroyTime.IsZero() {
		report.Destroyed++
		return
	}
	if !bytes.HasPrefix(k.DataKey, s.keys.Header()) {
		report.Outdated++
	}
	k.Credential.ID = k.CredentialID
	if _, err := s.decrypt(&k.Credential, &k.Version); err != nil {
		report.Problems = append(report.Problems, Problem{k.CredentialID, k.Number, err})
	}
}
