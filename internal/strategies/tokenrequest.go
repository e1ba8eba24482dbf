package strategies

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/secret"
)

// tokenRequest is all that a token depends on, and what is remembered of the last one.
type tokenRequest struct {
	provider     *catalog.Provider
	method       *catalog.AuthMethod
	clientID     secret.Text
	clientSecret secret.Text
	parameters   []Pair
	key          string
	// assumed is whether the last token's lifetime was assumed.
	assumed *atomic.Bool
}

// digest names a request. Two that differ in anything have different names. Without a
// key, a guess of the secret can be tested with it: it stays in this process.
func (r tokenRequest) digest() string {
	spec := r.method.TokenRequest
	parts := []string{
		spec.URL, string(spec.Body), string(spec.ClientAuthentication), spec.DefaultLifetime.String(),
		strconv.FormatBool(spec.EndsPrevious), strconv.FormatBool(spec.AllowPrivateAddresses),
		r.clientID.Reveal(), r.clientSecret.Reveal(),
	}
	for _, parameter := range r.parameters {
		parts = append(parts, parameter.Name, parameter.Value.Reveal())
	}
	return hex.EncodeToString(secret.Digest(nil, parts...))
}

// newRequest writes the request in the form that the provider wants.
func (c *TokenClient) newRequest(ctx context.Context, r tokenRequest) (*http.Request, error) {
	spec := r.method.TokenRequest
	parameters := map[string]string{"grant_type": "client_credentials"}
	if spec.ClientAuthentication == catalog.ClientInRequestBody {
		parameters[catalog.ClientIDField] = r.clientID.Reveal()
		parameters[catalog.ClientSecretField] = r.clientSecret.Reveal()
	}
	for _, parameter := range r.parameters {
		parameters[parameter.Name] = parameter.Value.Reveal()
	}
	body, contentType, err := encode(spec.Body, parameters)
	if err != nil {
		return nil, err
	}
	if spec.AllowPrivateAddresses {
		ctx = egress.AllowPrivate(ctx)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, spec.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", c.userAgent)
	if spec.ClientAuthentication == catalog.ClientInBasic {
		// RFC 6749, section 2.3.1: both are form-encoded first.
		request.SetBasicAuth(url.QueryEscape(r.clientID.Reveal()), url.QueryEscape(r.clientSecret.Reveal()))
	}
	return request, nil
}

func encode(format catalog.BodyFormat, parameters map[string]string) (body []byte, contentType string, err error) {
	if format == catalog.BodyJSON {
		body, err = json.Marshal(parameters)
		return body, "application/json", err
	}
	values := url.Values{}
	for name, value := range parameters {
		values.Set(name, value)
	}
	return []byte(values.Encode()), "application/x-www-form-urlencoded", nil
}
