package store

import (
	"cmp"
	"context"
	"errors"
)

// sealedRefreshToken is a row of the table refresh_tokens.
type sealedRefreshToken struct {
	RefreshToken

	sealed []byte
}

// columnsR lists the columns of a sealedRefreshToken. The method `columns` returns pointers to the
// fields in the same order.
const columnsR = `credential_id, chain, sequence, sealed`

func (r *sealedRefreshToken) columns() []any {
	return []any{&r.CredentialID, &r.Chain, &r.Sequence, &r.sealed}
}

// rekeyRefreshTokens goes through all refresh tokens once, and encrypts those that were encrypted with
// another key than the first store key. It returns how many refresh tokens it encrypted, and the error
// of the first one that could not be decrypted.
func (s *Store) rekeyRefreshTokens(ctx context.Context) (rewritten int, failed, err error) {
	last := &sealedRefreshToken{}
	for {
		var batch []*sealedRefreshToken
		err = s.exclusive(ctx, "encrypt refresh tokens", 0, func(w *writer) error {
			if batch, err = w.outdatedRefreshTokens(last); err != nil {
				return err
			}
			for _, r := range batch {
				err := w.rekeyRefreshToken(r)
				var refused refusal
				switch {
				case errors.As(err, &refused):
					failed = cmp.Or(failed, err)
				case err != nil:
					return err
				default:
					rewritten++
				}
			}
			return nil
		})
		if err != nil || len(batch) == 0 {
			return rewritten, failed, err
		}
		last = batch[len(batch)-1]
	}
}

// outdatedRefreshTokens returns some refresh tokens, after the given one, that were encrypted with
// another key than the first store key.
func (w *writer) outdatedRefreshTokens(after *sealedRefreshToken) ([]*sealedRefreshToken, error) {
	header := w.keys.Header()
	rows, err := w.tx.QueryContext(w.ctx, `SELECT `+columnsR+` FROM refresh_tokens
		WHERE substr(sealed, 1, $1) <> $2 AND (credential_id, chain) > ($3, $4) ORDER BY credential_id, chain LIMIT $5`,
		len(header), header, after.CredentialID, after.Chain, rekeyBatch)
	if err != nil {
		return nil, err
	}
	return collect(rows, func(r *sealedRefreshToken) []any { return r.columns() })
}

func (w *writer) rekeyRefreshToken(r *sealedRefreshToken) error {
	if err := w.openRefreshToken(&r.RefreshToken, r.sealed); err != nil {
		return err
	}
	_, err := w.exec(`UPDATE refresh_tokens SET sealed = $3 WHERE credential_id = $1 AND chain = $2`,
		r.CredentialID, r.Chain, w.sealRefreshToken(&r.RefreshToken, r.Value))
	return err
}
