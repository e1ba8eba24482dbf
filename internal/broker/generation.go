package broker

import (
	"fmt"
	"sync/atomic"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/strategies"
)

// Load is one load of the configuration. Config is required, with its credentials and policy.
type Load struct {
	Config *config.Config
	// Callers finds out who calls. Nil where nobody asks the Generation for it.
	Callers *authentication.Set
}

// Generation is what the broker serves of one Load. A call reads the current one once, and is
// answered from that. It does not change, but for what its accounts remember.
type Generation struct {
	Load

	// Number is different for each Generation of a Broker, so that what is remembered of one is
	// not taken for another's. It keeps no Generation in memory.
	Number uint64

	accounts map[string]*account
	// byToken are the IDs of the credentials that use a token, by the token's key.
	byToken map[string][]string
	// providers are those of all credentials, by ID, also of those that are disabled.
	providers map[string]string
	decisions *decisions
}

// account is a credential with the source of its tokens.
type account struct {
	credential *credentials.Credential
	source     *strategies.TokenSource // nil for static material
	tokenKey   string                  // of the source
	// latest is the decoration that was made last.
	latest atomic.Pointer[decorated]
	// former is what to serve until there is a token; nil: nothing.
	former atomic.Pointer[former]
	// rejected is the last rejection that was reported, of static material; nil: none.
	rejected atomic.Pointer[rejection]
}

// newGeneration prepares the credentials of a Load. Accounts of previous, which may be nil, are
// taken over where nothing of them changes. Disabled credentials are left out.
func newGeneration(load Load, client *strategies.TokenClient, previous *Generation) (*Generation, error) {
	set := load.Config.Credentials
	g := &Generation{
		Load:      load,
		accounts:  make(map[string]*account, set.Len()),
		byToken:   map[string][]string{},
		providers: make(map[string]string, set.Len()),
		decisions: newDecisions(load.Config.Policy),
	}
	if previous != nil {
		g.Number = previous.Number + 1
	}
	for credential := range set.All() {
		g.providers[credential.ID] = credential.Provider.ID
		if credential.Disabled {
			continue
		}
		a := previous.same(credential)
		if a == nil {
			var err error
			if a, err = newAccount(credential, client); err != nil {
				return nil, fmt.Errorf("credential %q: %w", credential.ID, err)
			}
			a.rejected.Store(previous.rejectionOf(credential.ID))
		}
		g.accounts[credential.ID] = a
		if a.source != nil {
			key := a.tokenKey
			g.byToken[key] = append(g.byToken[key], credential.ID)
		}
	}
	return g, nil
}

func newAccount(credential *credentials.Credential, client *strategies.TokenClient) (*account, error) {
	a := &account{credential: credential}
	if problems := strategies.Check(credential); problems != nil {
		return nil, problems[0]
	}
	if credential.Method.TokenRequest != nil {
		var err error
		if a.source, err = strategies.NewTokenSource(credential, client); err != nil {
			return nil, err
		}
		a.tokenKey = a.source.TokenKey()
	}
	return a, nil
}

// changedFrom returns the IDs whose state may differ from that in before, which may be nil.
func (g *Generation) changedFrom(before *Generation) []string {
	var ids []string
	if before == nil {
		return ids
	}
	for id, a := range g.accounts {
		if before.accounts[id] != a {
			ids = append(ids, id)
		}
	}
	for id := range before.accounts {
		if g.accounts[id] == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// same returns the account of a credential of which nothing has changed, or nil.
func (g *Generation) same(credential *credentials.Credential) *account {
	if g == nil {
		return nil
	}
	if a := g.accounts[credential.ID]; a != nil && a.credential.SameMaterial(credential) {
		return a
	}
	return nil
}

// rejectionOf returns what was last reported of an ID's account, or nil. It names the
// version, so that it says nothing about changed values.
func (g *Generation) rejectionOf(id string) *rejection {
	if g == nil || g.accounts[id] == nil {
		return nil
	}
	return g.accounts[id].rejected.Load()
}

// policy decides who may use what.
func (g *Generation) policy() *access.Policy { return g.Config.Policy }

// object is the account as grants see it.
func (a *account) object() access.Object {
	return access.Object{CredentialID: a.credential.ID, Provider: a.credential.Provider.ID}
}
