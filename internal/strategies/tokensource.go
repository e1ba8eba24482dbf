package strategies

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"slices"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

// TokenSource obtains the tokens of one credential: it requests them, or signs them itself.
type TokenSource struct {
	requester

	client    *TokenClient
	key       string
	budgetKey string
	assumed   atomic.Bool // whether the latest token has the default lifetime
}

// NewTokenSource returns the token source of a credential, whose method must have a token, and which
// must have no problem according to Check.
func NewTokenSource(credential *credentials.Credential, client *TokenClient) (*TokenSource, error) {
	if problems := checkToken(credential); problems != nil {
		return nil, problems[0]
	}
	s := &TokenSource{requester: requester{credential, client.options.UserAgent}, client: client}
	var err error
	if s.key, err = s.digest(); err != nil {
		return nil, err
	}
	s.budgetKey = s.budget()
	return s, nil
}

// digest computes the token key, which differs for tokens that differ in anything on which they depend:
// the definition, and the values of the fields that the definition uses for the token.
func (s *TokenSource) digest() (string, error) {
	method := s.credential.Method
	definition, err := json.Marshal([]any{method.TokenRequest, method.JWT})
	if err != nil {
		return "", err
	}
	parts := []string{string(definition)}
	for _, field := range method.TokenFields() {
		parts = append(parts, field, s.value(field))
	}
	if method.ReplacesRefreshToken() {
		parts = append(parts, "credential", s.credential.ID) // each credential has its own refresh tokens
	}
	return hex.EncodeToString(secret.Digest(nil, parts...)), nil
}

// budget computes the key of the budget of token requests, which the accounts at one URL do not share.
// A new secret of the same client ID does not get another budget. Without a client ID, accounts may
// differ only in secrets.
func (s *TokenSource) budget() string {
	method := s.credential.Method
	if method.TokenRequest == nil {
		return ""
	}
	parts, fields := []string{method.TokenRequest.URL.String()}, method.TokenFields()
	hasClientID := slices.Contains(fields, catalog.ClientIDField)
	for _, id := range fields {
		if field := method.Field(id); !field.Secret || id == catalog.ClientIDField || !hasClientID {
			parts = append(parts, id, s.value(id))
		}
	}
	return string(secret.Digest(nil, parts...))
}

// Kind returns the IDs of the provider and the auth method.
func (s *TokenSource) Kind() (provider, authMethod string) {
	return s.credential.Provider.ID, s.credential.Method.ID
}

// TokenKey returns a digest of everything on which the token depends, including the client secret.
// Credentials that can share a token have the same TokenKey in every process. A TokenKey allows
// checking guesses of the client secret, so show or store only an HMAC of the TokenKey.
func (s *TokenSource) TokenKey() string { return s.key }

// checkToken returns the problems that prevent obtaining a token with the values of a credential. It
// makes the requests without sending them, with samples in place of the values of earlier answers.
func checkToken(credential *credentials.Credential) (problems []ValueProblem) {
	method, values := credential.Method, fieldValues(credential)
	jwt, request := method.JWT, method.TokenRequest
	if request != nil {
		jwt = request.JWT
		problems = checkRequests(credential, values)
	}
	if jwt != nil {
		problems = append(problems, checkJWT(jwt, values)...)
	}
	for _, field := range method.TokenFields() {
		if !utf8.ValidString(values[field]) { // a JSON text cannot contain such bytes
			problems = append(problems, problem(field, "the value has bytes that are not UTF-8, which is not allowed where a token is obtained"))
		}
	}
	return problems
}

func checkRequests(credential *credentials.Credential, values map[string]string) (problems []ValueProblem) {
	r, request := requester{credential: credential}, credential.Method.TokenRequest
	if request.ClientAuthentication != catalog.ClientUnauthenticated {
		// RFC 6749, appendix A, allows only visible ASCII characters and spaces in the client ID and
		// the client secret.
		for _, field := range []string{catalog.ClientIDField, catalog.ClientSecretField} {
			if found := invalidHeaderValue(r.value(field)); found != "" {
				problems = append(problems, problem(field, "the value has %s, which is not allowed in a token request", found))
			}
		}
	}
	check := func(definition *catalog.Request, more map[string]string) {
		if definition.URL.IsFromAnswer() {
			return
		}
		_, wrong := r.makeRequest(context.Background(), definition, values, more)
		problems = append(problems, wrong...)
	}
	for _, first := range request.First {
		check(&first.Request, nil)
		for name := range first.Values {
			values[first.ID+"."+name] = sample
		}
	}
	values[catalog.JWTVariable] = sample
	check(&request.Request, r.clientParameters())
	return problems
}

// RequestToken obtains a token within 10 seconds, with one HTTP request in most cases. Another request
// may follow if the machine slept during the first request. RequestToken returns a *fault.Error, whose
// RetryDelay is the delay that the provider demanded. RequestToken calls Begin and Observe of the
// TokenClientOptions, unless the token is signed without a request.
func (s *TokenSource) RequestToken(ctx context.Context) (*token.Token, error) {
	issued, event := s.TryToken(ctx)
	if event.Err != nil {
		return nil, event.Err
	}
	return issued, nil
}

// TryToken does the same as RequestToken, but returns the whole outcome as an event, which
// contains, for example, the HTTP status. The token is nil if the event contains an error.
func (s *TokenSource) TryToken(ctx context.Context) (*token.Token, TokenRequestEvent) {
	options, sentAt := s.client.options, s.now()
	provider, method := s.Kind()
	event := TokenRequestEvent{Provider: provider, AuthMethod: method, TokenKey: s.key}
	if s.credential.Method.JWT != nil {
		var signed *token.Token
		signed, event.Err = s.signToken(sentAt)
		return signed, event
	}
	if wait := s.client.budget.Take(s.budgetKey, 1, sentAt); wait > 0 {
		event.Err = fault.New(fault.RateLimited,
			"too many token requests for one client of "+s.credential.Provider.DisplayName).WithRetryDelay(wait)
		options.Observe(event)
		return nil, event
	}
	ctx, done := options.Begin(ctx, provider, method)
	issued, answer, failure := s.obtain(ctx, sentAt)
	if now := s.now(); failure == nil && now.Sub(sentAt) > requestTimeout && !now.Before(issued.ExpireTime()) {
		// The machine slept during the request. The answer may be as old as the request, so the
		// token may have expired already.
		issued, answer, failure = s.obtain(ctx, now)
	}
	event.Duration, event.Err = s.now().Sub(sentAt), failure
	event.Status, event.OAuthError = answer.status, answer.code
	if failure == nil {
		event.LifetimeAssumed = !s.assumed.Swap(issued.Assumed) && issued.Assumed
	}
	done(event)
	options.Observe(event)
	return issued, event
}

func (s *TokenSource) now() time.Time { return s.client.options.Clock.Now() }

// signToken returns a token that the broker signs itself.
func (s *TokenSource) signToken(now time.Time) (*token.Token, *fault.Error) {
	definition, signedAt := s.credential.Method.JWT, clock.Wall(s.client.options.Clock, now)
	text, problems := signJWT(definition, fieldValues(s.credential), signedAt)
	if problems != nil {
		return nil, fault.Opaque()
	}
	expires := time.Unix(signedAt.Add(definition.Lifetime).Unix(), 0) // the claim exp has no fraction of a second
	return &token.Token{
		Value: secret.New(text), RequestedAt: now, Lifetime: expires.Sub(signedAt), Window: s.client.options.RenewalWindow,
	}, nil
}

// obtain requests a token. The returned answer is the last one, and is empty if none arrived.
func (s *TokenSource) obtain(ctx context.Context, sentAt time.Time) (*token.Token, *tokenAnswer, *fault.Error) {
	if s.credential.Method.ReplacesRefreshToken() {
		return s.refresh(ctx)
	}
	return s.send(ctx, sentAt, fieldValues(s.credential))
}
