package server

import (
	"context"
	"errors"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/management"
	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/store/postgres"
	"github.com/authmaterial/broker/internal/store/sqlite"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
	"github.com/authmaterial/broker/internal/verification"
)

// openPatience is how long the start of the server waits until the credential store has been read.
const openPatience = 10 * time.Second

// newManagement returns the service that manages credentials.
func (s *Server) newManagement(options Options) (*management.Service, error) {
	set := management.Options{
		Config: options.Config,
		Server: s.broker, Replica: s.replica, Others: s.otherReplicas,
		Verifier: verifier{s, verification.New(verification.Options{
			Transport: s.transport(options), TokenClient: s.tokenClient, Clock: s.clock, UserAgent: userAgent(options),
		})},
		Denials: s.denials,
		Clock:   clockwork.NewRealClock(),
		Logger:  s.logger,
	}
	if s.audit != nil {
		set.Audit = s.audit
	}
	if s.fixed.Store != nil {
		driver, err := OpenDriver(s.fixed.Store)
		if err != nil {
			return nil, err
		}
		set.Open = func(ctx context.Context) (management.Store, error) {
			opened, err := store.Open(ctx, driver, store.Options{Keys: s.fixed.Store.Keys, Logger: s.logger, Clock: s.clock})
			if err != nil {
				return nil, err
			}
			s.refreshTokens.opened.Store(opened)
			return opened, nil
		}
		s.closeDriver = func() { _ = driver.Close() }
	}
	return management.New(set), nil
}

// startManagement opens the credential store, and waits until it has been read. If the store cannot be
// reached, or if reading takes longer than openPatience, the server starts without managed
// credentials, which the background work reads later.
func (s *Server) startManagement() error {
	ctx, cancel := context.WithTimeout(s.stopping, openPatience)
	defer cancel()
	err := s.management.Open(ctx)
	if err != nil && !errors.Is(err, store.ErrUnavailable) {
		return err
	}
	s.background.Go(func() { s.management.Run(s.stopping) })
	if err == nil && s.fixed.Store != nil {
		select {
		case <-s.management.Loaded():
		case <-ctx.Done():
		}
	}
	return nil
}

// verifier keeps the tokens that verifications obtain. When the verified version is then activated, no
// other token has to be requested.
type verifier struct {
	server *Server
	*verification.Verifier
}

// Verify implements management.Verifier.
func (v verifier) Verify(ctx context.Context, c *credentials.Credential, current *token.Token) (verification.Result, error) {
	result, err := v.Verifier.Verify(ctx, c, current)
	if err == nil && result.Token != nil && result.Outcome != catalog.Refused {
		if source, err := strategies.NewTokenSource(c, v.server.tokenClient); err == nil {
			v.server.tokens.Keep(source, result.Token)
		}
	}
	return result, err
}

// OpenDriver opens the database of a configuration. The caller must close the driver.
func OpenDriver(c *config.Store) (store.Driver, error) {
	if c.SQLitePath != "" {
		return sqlite.Open(c.SQLitePath)
	}
	return postgres.Open(c.PostgresURL, c.User, c.Password)
}
