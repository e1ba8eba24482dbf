package strategies

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/secret"
)

// TokenSource requests the tokens of one credential with the OAuth 2.0 client credentials grant
// (RFC 6749, section 4.4).
type TokenSource struct {
	credential *credentials.Credential
	client     *TokenClient
	parameters []Pair
	key        string
	budgetKey  string
	assumed    atomic.Bool // whether the latest token has the default lifetime
}

// NewTokenSource returns the token source of a credential, which must have a TokenRequest and no
// problem according to Check.
func NewTokenSource(credential *credentials.Credential, client *TokenClient) (*TokenSource, error) {
	request, values := credential.Method.TokenRequest, variables(credential, secret.Text{})
	parameters, problems := evaluate(request.Parameters, values, func(string) string { return "" })
	if problems != nil {
		return nil, problems[0]
	}
	s := &TokenSource{credential: credential, client: client, parameters: parameters}
	s.key = s.digest()
	s.budgetKey = string(secret.Digest(nil, request.URL, s.value(catalog.ClientIDField)))
	return s, nil
}

// digest computes the token key, which differs for token requests that differ in any part.
func (s *TokenSource) digest() string {
	spec := s.credential.Method.TokenRequest
	parts := []string{
		spec.URL, string(spec.Body), string(spec.ClientAuthentication), spec.DefaultLifetime.String(),
		strconv.FormatBool(spec.EndsPrevious), strconv.FormatBool(spec.AllowPrivateAddresses),
		s.value(catalog.ClientIDField), s.value(catalog.ClientSecretField),
	}
	for _, parameter := range s.parameters {
		parts = append(parts, parameter.Name, parameter.Value.Reveal())
	}
	return hex.EncodeToString(secret.Digest(nil, parts...))
}

func (s *TokenSource) value(field string) string { return s.credential.Values[field].Reveal() }

// Kind returns the IDs of the provider and the auth method.
func (s *TokenSource) Kind() (provider, authMethod string) {
	return s.credential.Provider.ID, s.credential.Method.ID
}

// TokenKey returns a digest of everything on which the token depends, including the client secret.
// Credentials that can share a token have the same TokenKey in every process. A TokenKey allows
// checking guesses of the client secret, so show or store only an HMAC of the TokenKey.
func (s *TokenSource) TokenKey() string { return s.key }

func (s *TokenSource) newRequest(ctx context.Context) (*http.Request, error) {
	spec := s.credential.Method.TokenRequest
	clientID, clientSecret := s.value(catalog.ClientIDField), s.value(catalog.ClientSecretField)
	parameters := map[string]string{"grant_type": "client_credentials"}
	if spec.ClientAuthentication == catalog.ClientInRequestBody {
		parameters[catalog.ClientIDField], parameters[catalog.ClientSecretField] = clientID, clientSecret
	}
	for _, parameter := range s.parameters {
		parameters[parameter.Name] = parameter.Value.Reveal()
	}
	body, contentType, err := encode(spec.Body, parameters)
	if err != nil {
		return nil, err
	}
	if spec.AllowPrivateAddresses {
		ctx = egress.AllowPrivate(ctx)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, spec.URL, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", s.client.options.UserAgent)
	if spec.ClientAuthentication == catalog.ClientInBasic {
		// RFC 6749, section 2.3.1: the client ID and the client secret must first be form-encoded.
		request.SetBasicAuth(url.QueryEscape(clientID), url.QueryEscape(clientSecret))
	}
	return request, nil
}

func encode(format catalog.BodyFormat, parameters map[string]string) (body, contentType string, err error) {
	if format == catalog.BodyJSON {
		data, err := json.Marshal(parameters)
		return string(data), "application/json", err
	}
	values := url.Values{}
	for name, value := range parameters {
		values.Set(name, value)
	}
	return values.Encode(), "application/x-www-form-urlencoded", nil
}
