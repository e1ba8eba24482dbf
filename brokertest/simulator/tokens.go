package simulator

import (
	"cmp"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

// DefaultTokenLifetime is how long tokens live unless a test says otherwise. It is
// SendPulse's documented lifetime.
const DefaultTokenLifetime = time.Hour

// TokenEndpoint issues tokens by OAuth 2.0 client credentials (RFC 6749 §4.4). It
// counts its requests, can hold its answers back, and can be made to fail.
//
// A good request is answered 200 with access_token, token_type "Bearer" and expires_in
// in seconds. A bad one is answered as in §5.2: 401 invalid_client, 400
// unsupported_grant_type, or 400 invalid_request for a body that cannot be read, a
// parameter given twice, or a required one that is missing or differs.
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
	clients      map[string]string // secrets by client ID
	tokens       map[string]issued // live ones, and expired ones until the next is issued
}

// issued is what the endpoint knows about a token.
type issued struct {
	clientID string
	expires  time.Time
}

// HandleTokens serves a token endpoint of a test's own at a pattern as in
// [Simulator.Handle]: "POST api.example.test/oauth/token". It has no clients yet.
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
		clients:  make(map[string]string),
		tokens:   make(map[string]issued),
	}
}

// AddClient makes a client known and returns it, with random values in place of those
// that are empty. A client with the same ID gets the new secret, and the old one ends
// at once; its tokens live on.
func (e *TokenEndpoint) AddClient(client Client) Client {
	random := newClient()
	client.ID = cmp.Or(client.ID, random.ID)
	client.Secret = e.secrets.keep(cmp.Or(client.Secret, random.Secret))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clients[client.ID] = client.Secret
	return client
}

// RemoveClient ends a client at once. The tokens that it was issued live on.
func (e *TokenEndpoint) RemoveClient(clientID string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.clients, clientID)
}

// SetTokenLifetime sets how long tokens issued from now on live. Answers name it in
// whole seconds, rounded down. Default: [DefaultTokenLifetime].
func (e *TokenEndpoint) SetTokenLifetime(lifetime time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lifetime = lifetime
}

// SetEndsPreviousToken says whether a new token ends those that the same client was
// issued before. Default: they live on.
func (e *TokenEndpoint) SetEndsPreviousToken(ends bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.endsPrevious = ends
}

// RevokeTokens ends every token issued so far, before its time. The clients are told
// nothing and can obtain new ones.
func (e *TokenEndpoint) RevokeTokens() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.tokens)
}

// Accepts says whether r carries one bearer token, and that was issued here, has not
// expired and was not ended.
func (e *TokenEndpoint) Accepts(r *http.Request) bool { return e.ClientOf(r) != "" }

// ClientOf returns the ID of the client to which the token was issued that r carries, and
// "" unless Accepts says yes to r.
func (e *TokenEndpoint) ClientOf(r *http.Request) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	token, ok := e.tokens[bearer(r)]
	if !ok || !e.clock.Now().Before(token.expires) {
		return ""
	}
	return token.clientID
}

// knows says whether client exists and has this secret.
func (e *TokenEndpoint) knows(client Client) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	secret, ok := e.clients[client.ID]
	return ok && secret == client.Secret
}

// issue makes a token for a client and answers with it.
func (e *TokenEndpoint) issue(clientID string) answer {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.clock.Now()
	maps.DeleteFunc(e.tokens, func(_ string, token issued) bool {
		return !now.Before(token.expires) || e.endsPrevious && token.clientID == clientID
	})
	token := e.secrets.keep(randomToken(clientID, now, e.lifetime))
	e.tokens[token] = issued{clientID: clientID, expires: now.Add(e.lifetime)}
	return jsonAnswer(http.StatusOK, fields{
		"access_token": token, "token_type": "Bearer", "expires_in": int64(e.lifetime / time.Second),
	}).with("Cache-Control", "no-store")
}
