package simulator

import (
	"cmp"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

// DefaultTokenLifetime is the lifetime of a token unless a test sets another one. SendPulse
// documents the same lifetime.
const DefaultTokenLifetime = time.Hour

// TokenEndpoint issues tokens by OAuth 2.0 client credentials (RFC 6749 §4.4). A TokenEndpoint
// counts its requests, and tests can hold back its answers and make requests fail.
//
// The answer to a valid request has status 200 and the fields access_token, token_type ("Bearer")
// and expires_in (in seconds). The answer to an invalid request is what RFC 6749 §5.2 requires:
// status 401 with the error invalid_client, or status 400 with the error unsupported_grant_type or
// invalid_request. The error invalid_request means an unreadable body, a repeated parameter, or a
// parameter that is missing or does not have the required value.
type TokenEndpoint struct {
	tokenTraffic

	rules    TokenRules
	passport bool // whether the field "message" of an error answer repeats the error's description
	clock    clockwork.Clock
	secrets  *secrets

	mu           sync.Mutex
	lifetime     time.Duration
	endsPrevious bool
	clients      map[string][]string // the valid secrets of each client, by client ID
	tokens       map[string]issued   // all tokens ever issued, including expired and revoked ones
}

// Token describes a token that a [TokenEndpoint] issued.
type Token struct {
	ClientID string
	// ExpireTime is the end of the token's lifetime.
	ExpireTime time.Time
	// EndTime is when APIs stop accepting the token: its ExpireTime, or the time of its revocation
	// if that is earlier.
	EndTime time.Time
}

// issued is a token together with the client secret that its token request contained.
type issued struct {
	Token

	secret string
}

// HandleTokens adds a token endpoint that has no clients yet, and returns it. The pattern has the
// same form as for [Simulator.Handle]: "POST api.example.test/oauth/token".
func (s *Simulator) HandleTokens(pattern string, rules TokenRules) *TokenEndpoint {
	endpoint := newTokenEndpoint(s, rules)
	s.Handle(pattern, http.HandlerFunc(endpoint.serve))
	return endpoint
}

func newTokenEndpoint(s *Simulator, rules TokenRules) *TokenEndpoint {
	return &TokenEndpoint{
		rules:    rules,
		clock:    s.clock,
		secrets:  &s.secrets,
		lifetime: DefaultTokenLifetime,
		clients:  make(map[string][]string),
		tokens:   make(map[string]issued),
	}
}

// AddClient adds a client and returns it. An empty ID or secret is replaced by a random value. If a
// client with this ID exists, its secret is replaced: the old secret is rejected at once, and the
// client's tokens stay valid.
func (e *TokenEndpoint) AddClient(client Client) Client {
	random := newClient()
	client.ID = cmp.Or(client.ID, random.ID)
	client.Secret = e.secrets.keep(cmp.Or(client.Secret, random.Secret))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clients[client.ID] = []string{client.Secret}
	return client
}

// RotateSecret gives a client a new secret and returns it. The older secrets stay valid until the
// returned function is called, which revokes these secrets and the tokens that were issued for
// them.
func (e *TokenEndpoint) RotateSecret(clientID string) (rotated Client, end func()) {
	rotated = Client{ID: clientID, Secret: e.secrets.keep(newClient().Secret)}
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.clients[clientID]
	e.clients[clientID] = append(slices.Clone(before), rotated.Secret)
	return rotated, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		isFormer := func(secret string) bool { return slices.Contains(before, secret) }
		e.clients[clientID] = slices.DeleteFunc(slices.Clone(e.clients[clientID]), isFormer)
		e.endTokens(func(token issued) bool { return token.ClientID == clientID && isFormer(token.secret) })
	}
}

// RemoveClient rejects a client's token requests from now on. The client's tokens stay valid.
func (e *TokenEndpoint) RemoveClient(clientID string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.clients, clientID)
}

// SetTokenLifetime sets the lifetime of the tokens that the endpoint issues from now on. The
// default is [DefaultTokenLifetime]. Token answers contain the lifetime in whole seconds, rounded
// down.
func (e *TokenEndpoint) SetTokenLifetime(lifetime time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lifetime = lifetime
}

// SetEndsPreviousToken sets whether the endpoint revokes the earlier tokens of a client when it
// issues a new one. By default, earlier tokens stay valid.
func (e *TokenEndpoint) SetEndsPreviousToken(ends bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.endsPrevious = ends
}

// RevokeTokens revokes every token issued so far. Clients can obtain new tokens.
func (e *TokenEndpoint) RevokeTokens() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.endTokens(func(issued) bool { return true })
}

// endTokens revokes the valid tokens for which the function `chosen` returns true. The caller must
// hold e.mu.
func (e *TokenEndpoint) endTokens(chosen func(issued) bool) {
	now := e.clock.Now()
	for value, token := range e.tokens {
		if now.Before(token.EndTime) && chosen(token) {
			token.EndTime = now
			e.tokens[value] = token
		}
	}
}

// Accepts reports whether a request has exactly one bearer token, which this endpoint issued and
// which is neither expired nor revoked.
func (e *TokenEndpoint) Accepts(r *http.Request) bool { return e.ClientOf(r) != "" }

// ClientOf returns the ID of the client to which the endpoint issued the token in a request, or
// "" if Accepts returns false for the request.
func (e *TokenEndpoint) ClientOf(r *http.Request) string {
	token, ok := e.TokenOf(r)
	if !ok || !e.clock.Now().Before(token.EndTime) {
		return ""
	}
	return token.ClientID
}

// TokenOf returns the only bearer token in a request, even if it is expired or revoked. If the
// request has no bearer token of this endpoint, ok is false.
func (e *TokenEndpoint) TokenOf(r *http.Request) (token Token, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	found, ok := e.tokens[bearer(r)]
	return found.Token, ok
}

func (e *TokenEndpoint) knows(client Client) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Contains(e.clients[client.ID], client.Secret)
}

func (e *TokenEndpoint) issue(client Client) answer {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.clock.Now()
	if e.endsPrevious {
		e.endTokens(func(token issued) bool { return token.ClientID == client.ID })
	}
	token, expires := e.secrets.keep(randomToken(client.ID, now, e.lifetime)), now.Add(e.lifetime)
	e.tokens[token] = issued{Token: Token{ClientID: client.ID, ExpireTime: expires, EndTime: expires}, secret: client.Secret}
	return jsonAnswer(http.StatusOK, fields{
		"access_token": token, "token_type": "Bearer", "expires_in": int64(e.lifetime / time.Second),
	}).with("Cache-Control", "no-store")
}
