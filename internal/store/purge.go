package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

const (
	// purgeLimit is the largest number of credentials that one call of Purge removes.
	purgeLimit = 1000
	// useAge is how long the store keeps a use of a credential that is not in the store, for example
	// because it is declared in the configuration file.
	useAge = 365 * 24 * time.Hour
	// afterDeletion is how long a replica may still use a credential that was deleted. A refresh token
	// that is used later belongs to a declared credential, which has the same ID and the same first
	// refresh token.
	afterDeletion = time.Hour
)

// Purge removes up to 1,000 credentials that were deleted before a time, with their versions, events,
// uses and refresh tokens, and returns the IDs of these credentials. If several replicas call Purge at once,
// each ID is returned to only one replica.
//
// Purge also removes request IDs that are older than the time, copies of destroyed values that could
// not be erased earlier, and uses that are older than a year and whose credential is not in the store.
//
// Changes does not report purged credentials, so a replica must itself forget a credential some
// time after its DeleteTime.
func (s *Store) Purge(ctx context.Context, deletedBefore time.Time) (ids []string, err error) {
	candidates, err := s.deleted(ctx, deletedBefore)
	if err != nil {
		return nil, err
	}
	for _, id := range candidates {
		purged := false
		_, err = s.write(ctx, "purge a credential", func(w *writer) error {
			purged, err = w.purge(id, deletedBefore)
			return err
		})
		if err != nil {
			break
		}
		if purged {
			ids = append(ids, id)
		}
	}
	s.erase(ctx)
	if err != nil {
		return ids, err
	}
	return ids, s.exclusive(ctx, "remove old request IDs and uses", 0, func(w *writer) error {
		if _, err := w.exec(`DELETE FROM requests WHERE time < $1`, instant{&deletedBefore}); err != nil {
			return err
		}
		usedBefore := w.now.Add(-useAge)
		_, err := w.exec(`DELETE FROM uses WHERE minute < $1 AND NOT EXISTS (SELECT 1 FROM credentials c WHERE c.id = uses.credential_id)`,
			instant{&usedBefore})
		return err
	})
}

// `deleted` returns the IDs of credentials that were deleted before a time.
func (s *Store) deleted(ctx context.Context, before time.Time) (ids []string, err error) {
	err = s.read(ctx, "read deleted credentials", func(ctx context.Context, tx *sql.Tx, _ func()) error {
		rows, err := tx.QueryContext(ctx, `SELECT id FROM credentials WHERE delete_time > 0 AND delete_time < $1 ORDER BY delete_time LIMIT $2`,
			instant{&before}, purgeLimit)
		if err != nil {
			return err
		}
		found, err := collect(rows, func(id *string) []any { return []any{id} })
		for _, id := range found {
			ids = append(ids, *id)
		}
		return err
	})
	return ids, err
}

// purge removes a credential, and reports whether the credential was still there.
func (w *writer) purge(id string, before time.Time) (purged bool, err error) {
	var deleted time.Time
	err = w.tx.QueryRowContext(w.ctx, `SELECT delete_time FROM credentials WHERE id = $1`, id).Scan(instant{&deleted})
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	changed, err := w.exec(`DELETE FROM credentials WHERE id = $1 AND delete_time > 0 AND delete_time < $2`, id, instant{&before})
	if err != nil || changed == 0 {
		return false, err
	}
	for _, statement := range []string{`DELETE FROM events WHERE credential_id = $1`, `DELETE FROM uses WHERE credential_id = $1`} {
		if _, err := w.exec(statement, id); err != nil {
			return false, err
		}
	}
	usedBefore := deleted.Add(afterDeletion)
	_, err = w.exec(`DELETE FROM refresh_tokens WHERE credential_id = $1 AND update_time < $2`, id, instant{&usedBefore})
	return err == nil, err
}
