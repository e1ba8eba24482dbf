package store

import (
	"bytes"
	"context"
	"database/sql"
	"slices"
)

// Report is what Check found.
type Report struct {
	Credentials int
	Versions    int
	// Destroyed is the number of versions that are destroyed.
	Destroyed int
	// Rotating are the IDs of the credentials whose refresh tokens are in the store, in alphabetical
	// order. They include declared credentials.
	Rotating []string
	// Outdated is the number of versions and refresh tokens that were encrypted with another key than
	// the first store key.
	Outdated int
	Problems []Problem
}

// Problem is a version or a refresh token that cannot be used.
type Problem struct {
	CredentialID string
	// Version is the number of the version, or 0 for a refresh token.
	Version int
	// Err is ErrDamaged, ErrUnknownKey or ErrUnknownFormat. If an active version or a canary is
	// missing or destroyed, Err is ErrVersionNotFound.
	Err error
}

// Check decrypts all versions and refresh tokens, and reports those that cannot be used.
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
		if err := rows.Err(); err != nil {
			return err
		}
		return s.checkRefreshTokens(ctx, tx, report, extend)
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

func (s *Store) checkRefreshTokens(ctx context.Context, tx *sql.Tx, report *Report, extend func()) error {
	rows, err := tx.QueryContext(ctx, `SELECT `+columnsR+` FROM refresh_tokens ORDER BY credential_id, chain`)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // rows.Err returns the error
	for rows.Next() {
		r := new(sealedRefreshToken)
		if err := rows.Scan(r.columns()...); err != nil {
			return err
		}
		if !slices.Contains(report.Rotating[max(0, len(report.Rotating)-1):], r.CredentialID) {
			report.Rotating = append(report.Rotating, r.CredentialID)
		}
		if !bytes.HasPrefix(r.sealed, s.keys.Header()) {
			report.Outdated++
		}
		if err := s.openRefreshToken(&r.RefreshToken, r.sealed); err != nil {
			report.Problems = append(report.Problems, Problem{CredentialID: r.CredentialID, Err: err})
		}
		extend()
	}
	return rows.Err()
}
