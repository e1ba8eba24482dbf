package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
)

// rekeyBatch is the largest number of data keys that are encrypted in one transaction.
const rekeyBatch = 200

// `keyed` is a version, with the columns of its credential that are needed to decrypt the data key.
type keyed struct {
	Credential
	Version
}

func (k *keyed) columns() []any {
	return append([]any{&k.Provider, &k.AuthMethod}, k.Version.columns()...)
}

const keyedColumns = `c.provider, c.auth_method, ` + columnsV

// Rekey encrypts all data keys and refresh tokens with the first store key, and returns how many it
// encrypted. Rekey does not encrypt values again. Other processes may use the store at the same
// time if their keys include the first store key. If Rekey fails, call it again; it then continues
// where it stopped.
//
// Rekey returns ErrUnknownKey or ErrDamaged if some data keys or refresh tokens could not be decrypted.
// In that case all others are encrypted with the first store key, and Check reports those that could
// not be decrypted.
func (s *Store) Rekey(ctx context.Context) (rewritten int, err error) {
	defer s.erase(ctx) // remove the data keys that the old store key encrypted, because that key may become known
	if err := s.rekeyStore(ctx); err != nil {
		return 0, err
	}
	// Another replica may still encrypt new data keys with its own first store key, so rekeyPass is
	// called until it finds nothing to encrypt.
	for {
		keys, failed, err := s.rekeyPass(ctx)
		rewritten += keys
		if err != nil {
			return rewritten, err
		}
		tokens, failedToken, err := s.rekeyRefreshTokens(ctx)
		rewritten += tokens
		if err != nil {
			return rewritten, err
		}
		if keys+tokens == 0 {
			return rewritten, cmp.Or(failed, failedToken)
		}
	}
}

// rekeyStore encrypts the store's own key.
func (s *Store) rekeyStore(ctx context.Context) error {
	return s.exclusive(ctx, "encrypt the store's own key", 0, func(w *writer) error {
		var sealed []byte
		if err := w.tx.QueryRowContext(w.ctx, `SELECT request_key FROM store`).Scan(&sealed); err != nil {
			return err
		}
		if bytes.HasPrefix(sealed, s.keys.Header()) {
			return nil
		}
		_, err := w.exec(`UPDATE store SET request_key = $1`, s.keys.Seal(requestKeyContext(s.id), []byte(s.requestKey.Reveal())))
		return err
	})
}

// rekeyPass goes through all data keys once. It returns the number of data keys that it encrypted,
// and the error of the first data key that could not be decrypted.
func (s *Store) rekeyPass(ctx context.Context) (rewritten int, failed, err error) {
	last := &keyed{}
	for {
		batch, err := s.outdated(ctx, last.CredentialID, last.Number)
		if err != nil || len(batch) == 0 {
			return rewritten, failed, err
		}
		_, err = s.write(ctx, "encrypt data keys", func(w *writer) error {
			for _, k := range batch {
				changed, err := w.rekey(k)
				var refused refusal
				if err != nil && !errors.As(err, &refused) {
					return err
				}
				rewritten += changed
				failed = cmp.Or(failed, err)
			}
			return nil
		})
		if err != nil {
			return rewritten, failed, err
		}
		last = batch[len(batch)-1]
	}
}

// `outdated` returns some versions, after the given version, whose data keys were encrypted with
// another key than the first store key.
func (s *Store) outdated(ctx context.Context, id string, number int) (batch []*keyed, err error) {
	header := s.keys.Header()
	err = s.read(ctx, "read data keys", func(ctx context.Context, tx *sql.Tx, _ func()) error {
		rows, err := tx.QueryContext(ctx, `SELECT `+keyedColumns+` FROM versions v JOIN credentials c ON c.id = v.credential_id
			WHERE v.data_key IS NOT NULL AND substr(v.data_key, 1, $1) <> $2 AND (v.credential_id, v.number) > ($3, $4)
			ORDER BY v.credential_id, v.number LIMIT $5`, len(header), header, id, number, rekeyBatch)
		if err != nil {
			return err
		}
		batch, err = collect(rows, func(k *keyed) []any { return k.columns() })
		return err
	})
	return batch, err
}

// rekey encrypts one data key, unless the data key was changed in the meantime. It returns 1 if it
// encrypted the data key, and otherwise 0. After a change, the replicas read the credential again,
// because they will need the new data key.
func (w *writer) rekey(k *keyed) (int, error) {
	k.Credential.ID = k.CredentialID
	key, err := w.dataKey(&k.Credential, &k.Version)
	if err != nil {
		return 0, err
	}
	bound, err := w.bound(forDataKey, &k.Credential, &k.Version)
	if err != nil {
		return 0, err
	}
	changed, err := w.exec(`UPDATE versions SET data_key = $3 WHERE credential_id = $1 AND number = $2 AND data_key = $4`,
		k.CredentialID, k.Number, w.keys.Seal(bound, key), k.DataKey)
	if err != nil || changed == 0 {
		return 0, err
	}
	_, err = w.exec(`UPDATE credentials SET sequence = $2 WHERE id = $1`, k.CredentialID, w.revision)
	return 1, err
}
