package simulator

import (
	"cmp"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

// DefaultTokenLifetime is the default lifetime of tokens, SendPulse's documented one.
const DefaultTokenLifetime = time.Hour

// TokenEndpoint issues tokens by OAuth 2.0 client credentials (RFC 6749 §4.4). It counts its
// requests, can hold its answers back, and can be made to fail.
//
// A valid request is answered 200 with access_token, token_type "Bearer" and expires_in in
// seconds. An invalid one is answered by §5.2: 401 invalid_client, 400 unsupported_grant_type,
// or 400 invalid_request for an unreadable body, a repeated parameter, or a required one that is
// missing or has another value.
type TokenEndpoint struct {
	rules    TokenRules
	passport bool // errors repeat their description as "message"
	clock    clockwork.Clock
	secrets  *secrets
	failures failures
	arrivals arrivals

	mu           sync.Mutex
	lifetime     time.Duration
	endsPrevious bool
	clients      map[string][]string // secrets by client ID
	tokens       map[string]issued   // all tokens, ended ones included
}

// Token describes a token that a [TokenEndpoint] issued.
type Token struct {
	// ClientID is the client to which it was issued.
	ClientID string
	// ExpireTime is the end of its lifetime.
	ExpireTime time.Time
	// EndTime is when it stops being accepted: its ExpireTime, or the time of its revocation.
	EndTime time.Time
}

// issued is a token, and the secret that it was issued for.
type issued struct {
	Token

	secret string
}

// HandleTokens adds a test's own token endpoint at a pattern as in [Simulator.Handle]: "POST
// api.example.test/oauth/token". It has no clients yet.
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

// AddClient adds a client and returns it, with random values for empty fields. If the ID exists,
// the client gets the new secret, and the old secret is rejected at once; the client's tokens stay
// valid.
func (e *TokenEndpoint) AddClient(client Client) Client {
	random := newClient()
	client.ID = cmp.Or(client.ID, random.ID)
	client.Secret = e.secrets.keep(cmp.Or(client.Secret, random.Secret))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clients[client.ID] = []string{client.Secret}
	return client
}

// RotateSecret gives a client a new secret and returns it. Older secrets stay valid until end is
// called, which revokes them and the tokens that were issued for them.
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

// RemoveClient removes a client at once. Its tokens stay valid.
func (e *TokenEndpoint) RemoveClient(clientID string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.clients, clientID)
}

// SetTokenLifetime sets the lifetime of tokens issued from now on. Answers contain it in whole
// seconds, rounded down. Default: [DefaultTokenLifetime].
func (e *TokenEndpoint) SetTokenLifetime(lifetime time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lifetime = lifetime
}

// SetEndsPreviousToken sets whether a new token ends the earlier tokens of the same client.
// Default: they stay valid.
func (e *TokenEndpoint) SetEndsPreviousToken(ends bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.endsPrevious = ends
}

// RevokeTokens revokes every token issued so far. Clients are not notified, and can obtain new
// tokens.
func (e *TokenEndpoint) RevokeTokens() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.endTokens(func(issued) bool { return true })
}

// endTokens ends those valid tokens that match. The caller holds e.mu.
func (e *TokenEndpoint) endTokens(chosen func(issued) bool) {
	now := e.clock.Now()
	for value, token := range e.tokens {
		if now.Before(token.EndTime) && chosen(token) {
			token.EndTime = now
			e.tokens[value] = token
		}
	}
}

// Accepts reports whether r has exactly one bearer token, which was issued here, has not expired
// and was not revoked.
func (e *TokenEndpoint) Accepts(r *http.Request) bool { return e.ClientOf(r) != "" }

// ClientOf returns the ID of the client to which r's token was issued, or "" if Accepts is false
// for r.
func (e *TokenEndpoint) ClientOf(r *http.Request) string {
	token, ok := e.TokenOf(r)
	if !ok || !e.clock.Now().Before(token.EndTime) {
		return ""
	}
	return token.ClientID
}

// TokenOf returns the one bearer token in r, even if it has ended. ok is false if it was not
// issued here.
func (e *TokenEndpoint) TokenOf(r *http.Request) (token Token, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	found, ok := e.tokens[bearer(r)]
	return found.Token, ok
}

// knows reports whether the client exists and has this secret.
func (e *TokenEndpoint) knows(client Client) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Contains(e.clients[client.ID], client.Secret)
}

// issue makes a token for a client and answers with it.
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
