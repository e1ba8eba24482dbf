package broker

import (
	"fmt"
	"hash/maphash"
	"sync/atomic"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/strategies"
)

// Load is one load of the configuration.
type Load struct {
	// Config is required, with its credentials and policy.
	Config *config.Config
	// Callers authenticates callers. The Broker only passes it on. Nil where nothing uses it.
	Callers *authentication.Set
}

// Generation is what the broker serves of one Load, until the Load or the keys that authenticate
// callers change. A call reads the current one once, and is answered from that. It is immutable,
// except for what it remembers of earlier calls.
type Generation struct {
	Load

	// Number is different for each Generation of a Broker. Code that remembers a result of a
	// Generation can store the Number instead of a pointer, which would keep it in memory.
	Number uint64

	accounts  map[string]*account // by credential ID, disabled credentials included
	byToken   map[string][]string // IDs of the credentials that use a token, by the token's key
	seed      maphash.Seed
	decisions [decisionSlots]atomic.Pointer[decision]
}

// account is a credential with the source of its tokens.
type account struct {
	credential *credentials.Credential
	source     *strategies.TokenSource // nil: the material is static, or the credential is disabled
	tokenKey   string                  // of source
	latest     atomic.Pointer[Decoration]
	grace      atomic.Pointer[grace]     // nil: none
	rejection  atomic.Pointer[rejection] // nil: none
}

// newGeneration prepares a Load. Accounts of the previous Generation are reused if their
// material is unchanged. It also returns the new accounts that have a grace decoration. The
// caller holds b.mu.
func (b *Broker) newGeneration(load Load, previous *Generation) (*Generation, []*account, error) {
	set := load.Config.Credentials
	g := &Generation{
		Load: load, Number: previous.Number + 1, seed: maphash.MakeSeed(),
		accounts: make(map[string]*account, set.Len()), byToken: map[string][]string{},
	}
	var inGrace []*account
	for credential := range set.All() {
		old := previous.accounts[credential.ID]
		a, err := b.newAccount(credential, old)
		if err != nil {
			return nil, nil, fmt.Errorf("credential %q: %w", credential.ID, err)
		}
		if a != old && b.inherit(a, old, previous) {
			inGrace = append(inGrace, a)
		}
		g.accounts[credential.ID] = a
		if a.source != nil {
			g.byToken[a.tokenKey] = append(g.byToken[a.tokenKey], credential.ID)
		}
	}
	return g, inGrace, nil
}

// newAccount returns the account of a credential: the previous one, which may be nil, if its
// material is unchanged.
func (b *Broker) newAccount(credential *credentials.Credential, old *account) (*account, error) {
	if credential.Disabled {
		return &account{credential: credential}, nil
	}
	a := &account{credential: credential}
	if old != nil && !old.credential.Disabled {
		if old.credential.SameMaterial(credential) {
			return old, nil
		}
		a.rejection.Store(old.rejection.Load())
	}
	if problems := strategies.Check(credential); problems != nil {
		return nil, problems[0]
	}
	if credential.Method.TokenRequest != nil {
		var err error
		if a.source, err = strategies.NewTokenSource(credential, b.options.TokenClient); err != nil {
			return nil, err
		}
		a.tokenKey = a.source.TokenKey()
	}
	return a, nil
}
