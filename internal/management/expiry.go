package management

import (
	"context"
	"iter"
	"time"

	"github.com/authmaterial/broker/internal/store"
)

const (
	// expiryNotice is how long before the end of a secret the first warning is logged.
	expiryNotice = 14 * 24 * time.Hour
	// warnInterval is the time between two warnings about one secret.
	warnInterval = 24 * time.Hour
	// expiryCheck is the time between two checks of all secrets.
	expiryCheck = time.Hour
)

// warnOfExpiry logs a warning once a day for each secret that expires within expiryNotice, or that
// has expired, until the context ends.
func (s *Service) warnOfExpiry(ctx context.Context) {
	warned := map[string]time.Time{}
	for {
		s.warnOnce(warned)
		timer := s.options.Clock.NewTimer(expiryCheck)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.Chan():
		}
	}
}

func (s *Service) warnOnce(warned map[string]time.Time) {
	now := s.options.Clock.Now()
	for c := range s.served() {
		end := c.SecretExpireTime
		if end.IsZero() || c.Disabled || end.Sub(now) > expiryNotice {
			delete(warned, c.ID)
			continue
		}
		if at, known := warned[c.ID]; known && now.Sub(at) < warnInterval {
			continue
		}
		warned[c.ID] = now
		logger := s.options.Logger.With("credential_id", c.ID, "provider", c.Provider, "secret_expire_time", end)
		if end.After(now) {
			logger.Warn("the secret of a credential expires soon: replace it, and correct secret_expire_time")
		} else {
			logger.Warn("the secret of a credential has expired: replace it, and correct secret_expire_time")
		}
	}
}

// servedCredential is a credential that is not deleted. It may be disabled.
type servedCredential struct {
	ID, Provider     string
	Disabled         bool
	SecretExpireTime time.Time // zero if the time is unknown
	// ActivateTime is when the active version was activated, or zero for a declared credential.
	ActivateTime time.Time
}

// `served` returns all declared and managed credentials that are not deleted.
func (s *Service) served() iter.Seq[servedCredential] {
	s.mu.Lock()
	config, items := s.config, s.snapshot.Load().items
	s.mu.Unlock()
	return func(yield func(servedCredential) bool) {
		for c := range config.Credentials.All() {
			if !yield(servedCredential{ID: c.ID, Provider: c.Provider.ID, Disabled: c.Disabled, SecretExpireTime: c.SecretExpireTime}) {
				return
			}
		}
		for _, i := range items {
			if i.served != nil && config.Credentials.Get(i.id()) == nil && !yield(ofRow(i.row)) {
				return
			}
		}
	}
}

func ofRow(row *store.Row) servedCredential {
	c := &row.Credential
	return servedCredential{c.ID, c.Provider, c.Disabled, c.SecretExpireTime, row.Active.ActivateTime}
}

// ProviderSecrets contains what the metrics show about the secrets of one provider.
type ProviderSecrets struct {
	// OldestActivation is the earliest activation of an active version, and NearestExpiry is the
	// earliest secret_expire_time. A time is zero if it is unknown.
	OldestActivation, NearestExpiry time.Time
}

// Secrets returns what the metrics show about the secrets of each provider, without disabled
// credentials.
func (s *Service) Secrets() map[string]ProviderSecrets {
	all := map[string]ProviderSecrets{}
	for c := range s.served() {
		if c.Disabled {
			continue
		}
		of := all[c.Provider]
		of.OldestActivation = earlier(of.OldestActivation, c.ActivateTime)
		of.NearestExpiry = earlier(of.NearestExpiry, c.SecretExpireTime)
		all[c.Provider] = of
	}
	return all
}

// `earlier` returns the earlier of two times, of which each may be zero if it is unknown.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
