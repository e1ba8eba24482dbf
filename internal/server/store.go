package server

import (
	"context"
	"errors"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/management"
	"github.com/authmaterial/broker/internal/store"
	"github.com/authmaterial/broker/internal/store/postgres"
	"github.com/authmaterial/broker/internal/store/sqlite"
	"github.com/authmaterial/broker/internal/verification"
)

// openPatience is how long the start of the server waits for the credential store.
const openPatience = 10 * time.Second

// newManagement returns the service that manages credentials. If the credential store cannot be
// reached, the server starts without it, and tries again later.
func (s *Server) newManagement(options Options) (*management.Service, error) {
	set := management.Options{
		Config: options.Config,
		Server: s.broker,
		Verifier: verification.New(verification.Options{
			Transport: s.transport(options), TokenClient: s.tokenClient, Clock: s.clock, UserAgent: userAgent(options),
		}),
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
			return store.Open(ctx, driver, store.Options{Keys: s.fixed.Store.Keys, Logger: s.logger})
		}
		s.closeDriver = func() { _ = driver.Close() }
	}
	made := management.New(set)
	ctx, cancel := context.WithTimeout(s.stopping, openPatience)
	defer cancel()
	err := made.Open(ctx)
	if err == nil && set.Open != nil {
		err = made.Sync(ctx)
	}
	if err != nil && !errors.Is(err, store.ErrUnavailable) {
		return nil, err
	}
	return made, nil
}

// OpenDriver opens the database of a configuration. The caller must close the driver.
func OpenDriver(c *config.Store) (store.Driver, error) {
	if c.SQLitePath != "" {
		return sqlite.Open(c.SQLitePath)
	}
	return postgres.Open(c.PostgresURL, c.User, c.Password)
}
