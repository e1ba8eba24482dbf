package simulator

import (
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/catalog"
)

// Account is an account at a provider that the simulator simulates from the provider's definition.
// [Simulator.AddAccount] makes accounts.
//
// Every request to the account's hosts is an API call, unless it has the method and the URL of a request
// that obtains a token. An API call is authenticated if its headers and query parameters have the values
// that the definition produces with the values of the account. For an auth method with a token, this must
// be a token that the simulator issued, and that has neither expired nor been revoked. The answer to an
// authenticated call has status 200 and the body `{}`. The answer to any other call is one that means a
// rejection according to the definition, or has status 401. The call of the definition's verification
// gets the answers that the definition describes for accepted and refused credentials.
//
// The simulator issues a token if the token request has the method, URL, parameters, headers and
// client certificate that the definition describes, and each JWT in it has the right claims and is
// signed with the account's key. A token request must have no other parameters. Each answer to a token
// request replaces the refresh token, if the definition has one.
//
// If several accounts have the same host, a request that none of them recognises counts for the account
// whose requests it resembles most, or for the account that was added last. The handlers of
// [Simulator.Handle] take precedence over accounts; a handler can ask [Account.Accepts].
type Account struct {
	*API
	tokenTraffic

	provider   *catalog.Provider
	method     *catalog.AuthMethod
	clock      clockwork.Clock
	secrets    *secrets
	hosts      []string
	tokenHosts []string // the hosts of token requests that are known in advance
	label      string   // what answers add to the hosts of later requests
	key        any      // verifies the JWTs that the definition describes

	mutex    sync.Mutex
	values   variables
	rejected bool
	lifetime time.Duration
	tokens   []accountToken
	jwts     map[string]bool // the JWTs in authenticated calls, each with whether it was revoked
	// sessions has, for each request that obtains a token, the values of the answers to the requests
	// before it.
	sessions [][]variables
}

// variables are values of variables in expressions, by the variables' names.
type variables map[string]string

func (v variables) with(more variables) variables {
	all := maps.Clone(v)
	maps.Copy(all, more)
	return all
}

type accountToken struct {
	variables variables // the account's values, the token, and the other values of the token's answer
	end       time.Time
}

// Values returns the values of the auth method's fields, by field ID. A credential with these values
// works at the simulator. After a token request, the value of the field for a rotating refresh token is
// the newest refresh token.
func (a *Account) Values() map[string]string {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return maps.Clone(a.values)
}

// Hosts returns the hosts of the account's API, some with a port. A credential with the account's
// values may have these hosts as its allowed hosts.
func (a *Account) Hosts() []string { return slices.Clone(a.hosts) }

// Accepts reports whether a request is authenticated as the account.
func (a *Account) Accepts(r *http.Request) bool {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for _, values := range a.materials(r) {
		if !a.isDecorated(r, values) {
			continue
		}
		if a.method.JWT != nil {
			a.jwts[values[catalog.JWTVariable]] = false
		}
		return true
	}
	return false
}

// RejectKey makes the values of the account invalid. The provider then refuses token requests, and API
// calls with material that has no token. Issued tokens stay valid until RevokeTokens is called.
func (a *Account) RejectKey() {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.rejected = true
}

// RevokeTokens revokes every token issued so far. Clients can obtain new tokens. Of the tokens that
// clients sign themselves, RevokeTokens revokes those that API calls had.
func (a *Account) RevokeTokens() {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.tokens = nil
	for text := range a.jwts {
		a.jwts[text] = true
	}
}

// SetTokenLifetime sets the lifetime of the tokens that the account gets from now on. The default is
// [DefaultTokenLifetime], or the default_lifetime of the definition if that is shorter.
func (a *Account) SetTokenLifetime(lifetime time.Duration) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.lifetime = lifetime
}

func (a *Account) allows(host string) bool { return slices.Contains(a.hosts, host) }

// jwt returns the definition of the JWTs that the account's key signs, or nil.
func (a *Account) jwt() *catalog.JWT {
	if a.method.TokenRequest != nil {
		return jwtOfRequest(a.method)
	}
	return a.method.JWT
}
