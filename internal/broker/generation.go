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

type Load struct {
	// Config is the configuration with its credentials and policy. Required.
	Config *config.Config
	// Callers authenticates callers. The Broker itself does not use Callers, which may be nil if no
	// other code needs it.
	Callers *authentication.Set
}

// Generation contains everything that the broker derives from one Load. The broker makes a new
// Generation for a new Load, and after a change of the keys that authenticate callers. A call reads
// the current Generation once, and uses it until the call ends. A Generation is immutable, except
// for cached results.
type Generation struct {
	Load

	// Number is different for each Generation of a Broker. Cached results that belong to a
	// Generation should store its number: a pointer would keep the Generation in memory.
	Number uint64

	accounts  map[string]*account // indexed by credential ID; includes the accounts of disabled credentials
	byToken   map[string][]string // for each token key, the IDs of the credentials that use the token
	seed      maphash.Seed
	decisions [decisionSlots]atomic.Pointer[decision]
}

type account struct {
	credential *credentials.Credential
	source     *strategies.TokenSource // nil if the material is static or the credential is disabled
	tokenKey   string                  // source's token key
	latest     atomic.Pointer[Decoration]
	grace      atomic.Pointer[grace]     // nil if the account has no grace decoration
	rejection  atomic.Pointer[rejection] // nil if no rejection was reported
}

// newGeneration makes the Generation of a Load, and reuses the previous account of each credential
// whose material has not changed. The second result lists the new accounts that have a grace
// decoration. The caller must hold b.mu.
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

// newAccount returns the account of a credential: the old account if the credential's material has
// not changed. For a new credential, old is nil.
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
