// Package catalog holds providers and their auth methods. They are data: YAML files,
// four of them embedded here, others in the configuration file.
package catalog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/authmaterial/broker/internal/expression"
)

// TokenVariable is the name under which a token method's placements use the token.
const TokenVariable = "token"

// The fields by which a token method identifies itself to the provider.
const (
	ClientIDField     = "client_id"
	ClientSecretField = "client_secret"
)

// Provider is a product whose API is called. Its JSON is its definition.
type Provider struct {
	ID               string `json:"id"`
	DisplayName      string `json:"display_name"`
	Description      string `json:"description,omitempty"`
	DocumentationURL string `json:"documentation_url,omitempty"`
	// AllowedHosts are the hosts to which alone the material may be sent: exact, in
	// lower case, optionally with a port.
	AllowedHosts []string `json:"allowed_hosts"`
	// AuthMethods has at least one entry.
	AuthMethods []*AuthMethod `json:"auth_methods"`

	definition string // all of the above as text
}

// Equal reports whether both are defined in the same way.
func (p *Provider) Equal(other *Provider) bool { return p.definition == other.definition }

// AuthMethod returns the method with this ID, or nil.
func (p *Provider) AuthMethod(id string) *AuthMethod {
	for _, method := range p.AuthMethods {
		if method.ID == id {
			return method
		}
	}
	return nil
}

// AuthMethod is one way in that a provider offers.
type AuthMethod struct {
	ID               string `json:"id"`
	DisplayName      string `json:"display_name"`
	Description      string `json:"description,omitempty"`
	DocumentationURL string `json:"documentation_url,omitempty"`
	// RejectedStatuses are the HTTP statuses that mean that the material is rejected.
	RejectedStatuses []int `json:"rejected_statuses"`
	// Fields has at least one entry.
	Fields []Field `json:"fields"`
	// TokenRequest says how to obtain a token. Nil: the method places only fields.
	TokenRequest *TokenRequest `json:"token_request,omitempty"`
	// Headers and QueryParams are where the material goes; together at least one.
	Headers     []Placement `json:"headers,omitempty"`
	QueryParams []Placement `json:"query_params,omitempty"`
}

// Field returns the field with this ID, or nil.
func (m *AuthMethod) Field(id string) *Field {
	for i := range m.Fields {
		if m.Fields[i].ID == id {
			return &m.Fields[i]
		}
	}
	return nil
}

// Field is a value that a credential gives.
type Field struct {
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	// Description tells an operator where to find the value.
	Description string `json:"description,omitempty"`
	Required    bool   `json:"required"`
	// Secret says that the value must not be shown.
	Secret bool `json:"secret"`
}

// Placement puts a value into a request.
type Placement struct {
	// Name is the header's or the parameter's.
	Name string `json:"name"`
	// Value is over the method's fields and, for a token method, TokenVariable.
	Value *expression.Template `json:"value"`
}

// BodyFormat is how the parameters of a token request are written.
type BodyFormat string

// The formats.
const (
	BodyJSON BodyFormat = "JSON"
	BodyForm BodyFormat = "FORM"
)

// ClientAuthentication is where a token request carries the client's ID and secret.
type ClientAuthentication string

// The places; RFC 6749, section 2.3.1, has both.
const (
	ClientInRequestBody ClientAuthentication = "REQUEST_BODY"
	ClientInBasic       ClientAuthentication = "BASIC"
)

// TokenRequest is how a method obtains a token: OAuth 2.0 client credentials
// (RFC 6749, section 4.4), in the form that the provider wants.
type TokenRequest struct {
	// URL is https, or http on a literal loopback address.
	URL                  string               `json:"url"`
	Body                 BodyFormat           `json:"body"`
	ClientAuthentication ClientAuthentication `json:"client_authentication"`
	// Parameters are extra ones for the body, over the method's fields.
	Parameters []Placement `json:"-"`
	// DefaultLifetime holds when the answer has no usable expires_in. 1 s to 7 days.
	DefaultLifetime time.Duration `json:"-"`
	// AllowPrivateAddresses says that the URL's host may have an address that is not on
	// the public internet.
	AllowPrivateAddresses bool `json:"allow_private_addresses,omitempty"`
	// EndsPrevious says that a new token ends the one before.
	EndsPrevious bool `json:"-"`
}

// MarshalJSON returns the definition. It leaves & as it is.
func (r *TokenRequest) MarshalJSON() ([]byte, error) {
	type sameForm TokenRequest
	definition := struct {
		*sameForm
		Parameters      map[string]*expression.Template `json:"parameters,omitempty"`
		DefaultLifetime string                          `json:"default_lifetime"`
		PreviousToken   string                          `json:"previous_token"`
	}{(*sameForm)(r), map[string]*expression.Template{}, r.DefaultLifetime.String(), "KEPT"}
	for _, parameter := range r.Parameters {
		definition.Parameters[parameter.Name] = parameter.Value
	}
	if r.EndsPrevious {
		definition.PreviousToken = "ENDED"
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(definition)
	return text.Bytes(), err
}

// Catalog is a set of providers. It is not changed once made.
type Catalog struct {
	providers map[string]*Provider
}

// Provider returns the provider with this ID, or nil.
func (c *Catalog) Provider(id string) *Provider { return c.providers[id] }

// Providers returns all of them, sorted by ID.
func (c *Catalog) Providers() []*Provider {
	return slices.SortedFunc(maps.Values(c.providers), func(a, b *Provider) int { return strings.Compare(a.ID, b.ID) })
}

// With returns a catalog with one more provider. It replaces one of the same ID.
func (c *Catalog) With(provider *Provider) *Catalog {
	all := map[string]*Provider{provider.ID: provider}
	for id, other := range c.providers {
		all[id] = cmp.Or(all[id], other)
	}
	return &Catalog{providers: all}
}
