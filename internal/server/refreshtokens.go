package server

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/strategies"
)

// storeInterval is how often refresh tokens are stored that could not be stored when they were issued.
const storeInterval = time.Second

var (
	errStoreAway = fault.New(fault.StoreUnavailable,
		"the credential store, which has the refresh token of this credential, cannot be reached").WithRetryDelay(time.Second)
	errLeasedAgain = fault.New(fault.ProviderUnavailable,
		"another replica is using the refresh token that was replaced").WithRetryDelay(time.Second)
)

// refreshTokens implements strategies.RefreshTokens with the credential store.
type refreshTokens struct {
	opened atomic.Pointer[store.Store] // nil until the store could be opened
	logger *slog.Logger
}

// Lease implements strategies.RefreshTokens.
func (r *refreshTokens) Lease(
	ctx context.Context, chain strategies.RefreshChain, life time.Duration,
) (strategies.RefreshLease, time.Duration, error) {
	s := r.opened.Load()
	if s == nil {
		return nil, 0, errStoreAway
	}
	leased, wait, err := s.LeaseRefreshToken(ctx, store.Chain(chain), life)
	switch {
	case errors.Is(err, store.ErrLeased):
		return nil, wait, nil
	case err != nil:
		return nil, 0, r.explain(chain.CredentialID, err)
	}
	return &refreshLease{r, s, leased}, 0, nil
}

// explain returns the error for callers, and logs an error that does not pass by itself.
func (r *refreshTokens) explain(credentialID string, err error) error {
	switch {
	case errors.Is(err, store.ErrChanged):
		return strategies.ErrSuperseded
	case errors.Is(err, store.ErrLeased):
		return errLeasedAgain
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrReplaced), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, context.Canceled): // the server is stopping, and storeLastRefreshTokens tries again
		return errStoreAway
	}
	r.logger.Error("the stored refresh token of a credential cannot be used", "credential_id", credentialID, "problem", err)
	return fault.Opaque()
}

// refreshLease implements strategies.RefreshLease.
type refreshLease struct {
	tokens *refreshTokens
	store  *store.Store
	leased *store.RefreshToken
}

// Token implements strategies.RefreshLease.
func (l *refreshLease) Token() secret.Text { return l.leased.Value }

// Interrupted implements strategies.RefreshLease.
func (l *refreshLease) Interrupted() bool { return l.leased.Interrupted }

// Replace implements strategies.RefreshLease.
func (l *refreshLease) Replace(ctx context.Context, successor secret.Text) error {
	return l.result(l.store.ReplaceRefreshToken(ctx, l.leased, successor))
}

// Release implements strategies.RefreshLease.
func (l *refreshLease) Release(ctx context.Context, interrupted bool) error {
	return l.result(l.store.ReleaseRefreshToken(ctx, l.leased, interrupted))
}

func (l *refreshLease) result(err error) error {
	if err != nil {
		return l.tokens.explain(l.leased.CredentialID, err)
	}
	return nil
}

// storeRefreshTokens stores refresh tokens that could not be stored when they were issued, until the
// server stops.
func (s *Server) storeRefreshTokens() {
	ticker := s.clock.NewTicker(storeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.Chan():
			s.tokenClient.StoreRefreshTokens(s.stopping)
		case <-s.stopping.Done():
			return
		}
	}
}

// storeLastRefreshTokens stores the refresh tokens that would be lost at the end of the process.
func (s *Server) storeLastRefreshTokens() {
	ctx, cancel := context.WithTimeout(context.Background(), lastPeriod)
	defer cancel()
	if lost := s.tokenClient.StoreLastRefreshTokens(ctx); len(lost) > 0 {
		s.logger.Error("refresh tokens could not be stored and are lost: obtain new ones and rotate these credentials", "credential_ids", lost)
	}
}
