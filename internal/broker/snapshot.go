package broker

import (
	"fmt"
	"sync/atomic"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/strategies"
)

// snapshot is what the broker serves from one configuration. It is not changed once
// made, but for what its accounts remember.
type snapshot struct {
	accounts map[string]*account
	// byToken are the IDs of the credentials that use a token, by the token's key.
	byToken map[string][]string
	// providers are those of all credentials, by ID, also of those that are disabled.
	providers map[string]string
	policy    *access.Policy
}

// account is a credential with its strategy.
type account struct {
	credential *credentials.Credential
	strategy   strategies.Strategy
	// source is the same strategy where it needs a token, and nil otherwise.
	source strategies.TokenStrategy
	// latest is the decoration that was made last, so that it is made once a token.
	latest atomic.Pointer[decorated]
	// former is what to serve until there is a token; nil: nothing.
	former atomic.Pointer[former]
	// rejected is the last rejection that was reported, of static material; nil: none.
	rejected atomic.Pointer[rejection]
}

// newSnapshot prepares the credentials of a set. Accounts of previous, which may be
// nil, are taken over where nothing of them changes. Disabled credentials are left out.
func newSnapshot(set *credentials.Set, policy *access.Policy, client *strategies.TokenClient, previous *snapshot) (*snapshot, error) {
	s := &snapshot{
		accounts:  make(map[string]*account, set.Len()),
		byToken:   map[string][]string{},
		providers: make(map[string]string, set.Len()),
		policy:    policy,
	}
	for credential := range set.All() {
		s.providers[credential.ID] = credential.Provider.ID
		if credential.Disabled {
			continue
		}
		a := previous.same(credential)
		if a == nil {
			strategy, err := strategies.New(credential, client)
			if err != nil {
				return nil, fmt.Errorf("credential %q: %w", credential.ID, err)
			}
			source, _ := strategy.(strategies.TokenStrategy)
			a = &account{credential: credential, strategy: strategy, source: source}
			a.rejected.Store(previous.rejectionOf(credential.ID))
		}
		s.accounts[credential.ID] = a
		if a.source != nil {
			key := a.source.TokenKey()
			s.byToken[key] = append(s.byToken[key], credential.ID)
		}
	}
	return s, nil
}

// changedFrom are the IDs whose state may differ from that in before, which may be nil.
func (s *snapshot) changedFrom(before *snapshot) []string {
	var ids []string
	if before == nil {
		return ids
	}
	for id, a := range s.accounts {
		if before.accounts[id] != a {
			ids = append(ids, id)
		}
	}
	for id := range before.accounts {
		if s.accounts[id] == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// same returns the account of a credential of which nothing has changed, or nil.
func (s *snapshot) same(credential *credentials.Credential) *account {
	if s == nil {
		return nil
	}
	if a := s.accounts[credential.ID]; a != nil && a.credential.SameMaterial(credential) {
		return a
	}
	return nil
}

// rejectionOf returns what was last reported of an ID's account, or nil. It names the
// version, so that it says nothing about changed values.
func (s *snapshot) rejectionOf(id string) *rejection {
	if s == nil || s.accounts[id] == nil {
		return nil
	}
	return s.accounts[id].rejected.Load()
}
