// Package strategies turns credentials into material: static ones place field values,
// token ones first obtain a token. A new kind of auth method is a new Strategy in a
// file of its own, and one line in New.
package strategies

import (
	"context"

	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

// Pair is one header or query parameter.
type Pair struct {
	Name  string
	Value secret.Text
}

// Material is what a request needs to be authenticated. It is not changed once made.
type Material struct {
	Headers     []Pair
	QueryParams []Pair
}

// Strategy is how one credential becomes material.
type Strategy interface {
	// Material returns the material. The token is the empty secret for a strategy
	// that is no TokenStrategy.
	Material(token secret.Text) (Material, error)
}

// TokenStrategy is a Strategy that needs a token first.
type TokenStrategy interface {
	Strategy
	// Kind names the provider and the auth method by their IDs.
	Kind() (provider, authMethod string)
	// TokenKey names the token: a digest of everything that it depends on, the client
	// secret included, and the same for credentials that can share one, in every process.
	// It is as secret as what it was made from, and stays in memory: whatever shows it
	// elsewhere puts it through an HMAC first.
	TokenKey() string
	// RequestToken makes one token request: one HTTP attempt, 10 seconds at most. Its
	// error is a *fault.Error; RetryDelay is what the provider asked for.
	RequestToken(ctx context.Context) (*token.Token, error)
}

// New returns the strategy of a credential. It fails when the values cannot become
// material; Check says why, value by value.
func New(credential *credentials.Credential, client *TokenClient) (Strategy, error) {
	if problems := Check(credential); problems != nil {
		return nil, problems
	}
	if credential.Method.TokenRequest != nil {
		return newClientCredentials(credential, client)
	}
	return newStatic(credential)
}
