package store

import (
	"context"
	"database/sql"
	"time"
)

// purgeLimit is the largest number of credentials that one call of Purge removes.
const purgeLimit = 1000

// Purge removes up to 1,000 credentials that were deleted before a time, with their versions,
// events and uses, and returns the IDs of these credentials. For each of them, Purge stores the
// given event, and sets its CredentialID. Purge also removes request IDs that are older than the
// time, and copies of destroyed values that could not be erased earlier. If several replicas call Purge at once, each ID is returned to only one replica.
//
// Changes does not report purged credentials, so a replica must itself forget a credential some
// time after its DeleteTime.
func (s *Store) Purge(ctx context.Context, deletedBefore time.Time, event Event) (ids []string, err error) {
	candidates, err := s.deleted(ctx, deletedBefore)
	if err != nil {
		return nil, err
	}
	for _, id := range candidates {
		purged := false
		_, err = s.write(ctx, "purge a credential", func(w *writer) error {
			purged, err = w.purge(id, deletedBefore, event)
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
	return ids, s.exclusive(ctx, "remove old request IDs", 0, func(w *writer) error {
		_, err := w.exec(`DELETE FROM requests WHERE time < $1`, instant{&deletedBefore})
		return err
	})
}

// deleted returns the IDs of credentials that were deleted before a time.
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
func (w *writer) purge(id string, before time.Time, event Event) (purged bool, err error) {
	changed, err := w.exec(`DELETE FROM credentials WHERE id = $1 AND delete_time > 0 AND delete_time < $2`, id, instant{&before})
	if err != nil || changed == 0 {
		return false, err
	}
	for _, statement := range []string{`DELETE FROM events WHERE credential_id = $1`, `DELETE FROM uses WHERE credential_id = $1`} {
		if _, err := w.exec(statement, id); err != nil {
			return false, err
		}
	}
	return true, w.insertEvent(id, &event)
}
