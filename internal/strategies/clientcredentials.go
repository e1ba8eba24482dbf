package strategies

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

// clientCredentials obtains a token by OAuth 2.0 client credentials and places it.
type clientCredentials struct {
	credential *credentials.Credential
	client     *TokenClient
	request    tokenRequest
}

func newClientCredentials(credential *credentials.Credential, client *TokenClient) (*clientCredentials, error) {
	parameters, err := evaluateParameters(credential)
	if err != nil {
		return nil, err
	}
	request := tokenRequest{
		provider:     credential.Provider,
		method:       credential.Method,
		clientID:     credential.Values[catalog.ClientIDField],
		clientSecret: credential.Values[catalog.ClientSecretField],
		parameters:   parameters,
		assumed:      new(atomic.Bool),
	}
	request.key = request.digest()
	return &clientCredentials{credential: credential, client: client, request: request}, nil
}

// evaluateParameters computes the extra parameters of the request. They may hold
// anything that a body can carry.
func evaluateParameters(credential *credentials.Credential) ([]Pair, error) {
	values := variables(credential, secret.Text{})
	var parameters []Pair
	for _, p := range credential.Method.TokenRequest.Parameters {
		value, ok, err := p.Value.Evaluate(values)
		if err != nil {
			return nil, fmt.Errorf("token request parameter %q: %w", p.Name, err)
		}
		if ok {
			parameters = append(parameters, Pair{Name: p.Name, Value: secret.New(value)})
		}
	}
	return parameters, nil
}

// Kind names the provider and the auth method.
func (c *clientCredentials) Kind() (provider, authMethod string) {
	return c.request.provider.ID, c.request.method.ID
}

// TokenKey names the token.
func (c *clientCredentials) TokenKey() string { return c.request.key }

// RequestToken makes one token request.
func (c *clientCredentials) RequestToken(ctx context.Context) (*token.Token, error) {
	return c.client.request(ctx, c.request)
}

// Material places the token and the field values.
func (c *clientCredentials) Material(token secret.Text) (Material, error) {
	return place(c.credential, token)
}
