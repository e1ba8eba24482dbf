package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/authmaterial/broker/internal/secret"
)

// LeaseRefreshToken returns the current refresh token of a chain. No other caller, in any replica, can
// lease a refresh token of the chain until the given time has passed, or
// the lease was ended by ReplaceRefreshToken or ReleaseRefreshToken. The database's clock measures
// the time, which is at most MaxLease.
//
// LeaseRefreshToken also stores that the refresh token may be used from now on. If the lease ends
// without a result, the next lease of this refresh token has Interrupted set.
//
// If another caller has the lease, LeaseRefreshToken returns ErrLeased, and how long that lease lasts
// unless it is ended earlier.
func (s *Store) LeaseRefreshToken(
	ctx context.Context, chain Chain, life time.Duration,
) (leased *RefreshToken, wait time.Duration, err error) {
	t := &RefreshToken{CredentialID: chain.CredentialID, Sequence: 1, Value: chain.First}
	t.Chain = s.digest(secret.New(chain.CredentialID), chain.First, secret.New(chain.Recipient))
	err = s.exclusive(ctx, "lease a refresh token", 0, func(w *writer) (err error) {
		wait, err = w.leaseRefreshToken(t, s.origin(chain.CredentialID, chain.First), min(life, MaxLease))
		return err
	})
	if err != nil {
		return nil, wait, err
	}
	return t, 0, nil
}

func (w *writer) leaseRefreshToken(t *RefreshToken, origin string, life time.Duration) (wait time.Duration, err error) {
	now, end := w.driver.Now(), life.Microseconds()
	var sealed []byte
	var left int64
	err = w.tx.QueryRowContext(w.ctx, `SELECT sequence, sealed, attempted, fence, lease_end - `+now+`
		FROM refresh_tokens WHERE credential_id = $1 AND chain = $2`, t.CredentialID, t.Chain).
		Scan(&t.Sequence, &sealed, &t.Interrupted, &t.fence, &left)
	if errors.Is(err, sql.ErrNoRows) {
		t.fence = 1
		_, err = w.exec(`INSERT INTO refresh_tokens (credential_id, chain, origin, sequence, sealed, attempted, fence, lease_end, update_time)
			VALUES ($1, $2, $3, $4, $5, $6, $7, `+now+` + $8, $9)`,
			t.CredentialID, t.Chain, origin, t.Sequence, w.sealRefreshToken(t, t.Value), true, t.fence, end, instant{&w.now})
		return 0, err
	}
	if err != nil {
		return 0, err
	}
	if wait := time.Duration(left) * time.Microsecond; wait > 0 && wait <= MaxLease {
		return wait, ErrLeased
	}
	if err := w.openRefreshToken(t, sealed); err != nil {
		return 0, err
	}
	t.fence++
	return 0, w.execOne(ErrReplaced, `UPDATE refresh_tokens SET attempted = $3, fence = $4, lease_end = `+now+` + $5, update_time = $6
		WHERE credential_id = $1 AND chain = $2`, t.CredentialID, t.Chain, true, t.fence, end, instant{&w.now})
}

// ReplaceRefreshToken stores the successor of a refresh token, and ends the lease. When
// ReplaceRefreshToken returns nil, the successor survives a crash. It may be called again after an
// error, and it stores the successor even if the lease has ended, because the provider may accept only
// the successor.
//
// If the lease has ended and another caller has the next one, ReplaceRefreshToken returns ErrLeased, and
// stores nothing: the other caller may be using the refresh token, and may get another successor, which
// is newer. Call ReplaceRefreshToken again later.
//
// ReplaceRefreshToken returns ErrChanged, and stores nothing, if another successor was stored, or if
// the chain was removed with its credential or version.
func (s *Store) ReplaceRefreshToken(ctx context.Context, t *RefreshToken, successor secret.Text) error {
	return s.exclusive(ctx, "store a refresh token", 0, func(w *writer) error {
		next, now := *t, w.driver.Now()
		next.Sequence++
		err := w.execOne(ErrChanged, `UPDATE refresh_tokens SET sequence = $4, sealed = $5, attempted = $6, update_time = $7, lease_end = 0
			WHERE credential_id = $1 AND chain = $2 AND sequence = $3 AND (fence = $8 OR lease_end - `+now+` NOT BETWEEN 1 AND $9)`,
			t.CredentialID, t.Chain, t.Sequence, next.Sequence, w.sealRefreshToken(&next, successor), false, instant{&w.now},
			t.fence, MaxLease.Microseconds())
		if !errors.Is(err, ErrChanged) {
			return err
		}
		return w.whyNotReplaced(&next, successor)
	})
}

// whyNotReplaced returns nil if an earlier call stored the successor, although the call returned an
// error, and otherwise ErrLeased or ErrChanged.
func (w *writer) whyNotReplaced(next *RefreshToken, successor secret.Text) error {
	var sequence int64
	var sealed []byte
	err := w.tx.QueryRowContext(w.ctx, `SELECT sequence, sealed FROM refresh_tokens WHERE credential_id = $1 AND chain = $2`,
		next.CredentialID, next.Chain).Scan(&sequence, &sealed)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ErrChanged
	case err != nil:
		return err
	case sequence == next.Sequence-1:
		return ErrLeased
	case sequence != next.Sequence, w.openRefreshToken(next, sealed) != nil, !next.Value.Equal(successor):
		return ErrChanged
	}
	return nil
}

// ReleaseRefreshToken ends the lease of a refresh token that has no successor. If `interrupted` is
// set, the next lease of the refresh token has Interrupted set. ReleaseRefreshToken returns ErrChanged
// if a successor was stored meanwhile.
func (s *Store) ReleaseRefreshToken(ctx context.Context, t *RefreshToken, interrupted bool) error {
	var found int
	err := s.exclusive(ctx, "release a refresh token", 0, func(w *writer) error {
		_, err := w.exec(`UPDATE refresh_tokens SET lease_end = 0, attempted = CASE WHEN sequence = $4 THEN $5 ELSE attempted END
			WHERE credential_id = $1 AND chain = $2 AND fence = $3`, t.CredentialID, t.Chain, t.fence, t.Sequence, interrupted)
		if err != nil {
			return err
		}
		return w.tx.QueryRowContext(w.ctx, `SELECT count(*) FROM refresh_tokens WHERE credential_id = $1 AND chain = $2 AND sequence = $3`,
			t.CredentialID, t.Chain, t.Sequence).Scan(&found)
	})
	if err == nil && found == 0 {
		return s.failure(ctx, "release a refresh token", ErrChanged)
	}
	return err
}
