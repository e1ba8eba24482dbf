package broker

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
)

// staticRefresh is how far ahead the RefreshTime of static material lies.
const staticRefresh = 5 * time.Minute

// snapshot is what the broker serves from one configuration.
type snapshot struct {
	accounts map[string]*account
}

// account is a credential with its strategy.
type account struct {
	credential *credentials.Credential
	strategy   strategies.Strategy
	// tokens is the same strategy where it needs a token, and nil otherwise.
	tokens strategies.TokenStrategy
	// latest is the decoration that was made last, so that it is made once a token.
	latest atomic.Pointer[decorated]
}

// decorated is a decoration and the token in it; nil for static material.
type decorated struct {
	token      *token.Token
	decoration *Decoration
}

// newSnapshot computes all static material. Disabled credentials are left out.
func newSnapshot(set *credentials.Set, client *strategies.TokenClient) (*snapshot, error) {
	s := &snapshot{accounts: make(map[string]*account, set.Len())}
	for credential := range set.All() {
		if credential.Disabled {
			continue
		}
		strategy, err := strategies.New(credential, client)
		if err != nil {
			return nil, fmt.Errorf("credential %q: %w", credential.ID, err)
		}
		tokens, _ := strategy.(strategies.TokenStrategy)
		s.accounts[credential.ID] = &account{credential: credential, strategy: strategy, tokens: tokens}
	}
	return s, nil
}

// find returns the account of an ID.
func (s *snapshot) find(id string) (*account, error) {
	if found := s.accounts[id]; found != nil {
		return found, nil
	}
	if !credentials.ValidID(id) {
		return nil, &fault.Error{
			Reason:  fault.InvalidRequest,
			Message: "the credential ID is malformed",
			Violations: []fault.Violation{{
				Field:       "credential_id",
				Description: "must match " + credentials.IDPattern,
			}},
		}
	}
	return nil, fault.New(fault.CredentialNotFound, fmt.Sprintf("there is no credential %q, or it is disabled", id))
}

// decorate returns the decoration with this token in it; nil for static material.
func (b *Broker) decorate(a *account, t *token.Token) (*Decoration, error) {
	latest := a.latest.Load()
	if latest == nil || latest.token != t {
		made, err := b.newDecoration(a, t)
		if err != nil {
			return nil, err
		}
		latest = &decorated{token: t, decoration: made}
		a.latest.Store(latest)
	}
	if t != nil {
		return latest.decoration, nil
	}
	now := *latest.decoration
	now.RefreshTime = b.clock.Now().Add(staticRefresh)
	return &now, nil
}

func (b *Broker) newDecoration(a *account, t *token.Token) (*Decoration, error) {
	made := &Decoration{
		CredentialID:     a.credential.ID,
		AllowedHosts:     a.credential.AllowedHosts,
		RejectedStatuses: a.credential.Method.RejectedStatuses,
	}
	var err error
	if t == nil {
		made.Material, err = a.strategy.Material(noToken)
	} else {
		made.Material, err = a.strategy.Material(t.Value)
		made.ExpireTime, made.RefreshTime = t.ExpireTime(), t.RefreshTime()
	}
	if err != nil {
		return nil, fmt.Errorf("place the token: %w", err)
	}
	made.Version = version(b.versionKey, made.CredentialID, made.Material)
	return made, nil
}
