// Package catalog has the providers and their auth methods. They are data: YAML files. Four are
// embedded here, others are in the configuration file.
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

// TokenVariable is the name of the token in the placements of a token method.
const TokenVariable = "token"

// The fields with which a token method authenticates to the provider.
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
	// AllowedHosts are the only hosts to which the material may be sent: exact, in lower
	// case, optionally with a port.
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

// AuthMethod is one way of authentication that a provider offers.
type AuthMethod struct {
	ID               string `json:"id"`
	DisplayName      string `json:"display_name"`
	Description      string `json:"description,omitempty"`
	DocumentationURL string `json:"documentation_url,omitempty"`
	// RejectedStatuses are the HTTP statuses with which the provider rejects the material.
	RejectedStatuses []int `json:"rejected_statuses"`
	// Fields has at least one entry.
	Fields []Field `json:"fields"`
	// TokenRequest is how to obtain a token. Nil: the method places only fields.
	TokenRequest *TokenRequest `json:"token_request,omitempty"`
	// Headers and QueryParams are where the material is placed; together at least one.
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

// Field is a value that credentials have.
type Field struct {
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	// Description is help for operators: where to find the value.
	Description string `json:"description,omitempty"`
	Required    bool   `json:"required"`
	// Secret fields have values that must not be shown.
	Secret bool `json:"secret"`
}

// Placement puts a value into a request.
type Placement struct {
	// Name is the name of the header or parameter.
	Name string `json:"name"`
	// Value uses the method's fields and, for a token method, TokenVariable.
	Value *expression.Template `json:"value"`
}

// BodyFormat is the format of a token request's body.
type BodyFormat string

// The formats of a body.
const (
	BodyJSON BodyFormat = "JSON"
	BodyForm BodyFormat = "FORM"
)

// ClientAuthentication is where a token request has the client's ID and secret.
type ClientAuthentication string

// The places of RFC 6749, section 2.3.1.
const (
	ClientInRequestBody ClientAuthentication = "REQUEST_BODY"
	ClientInBasic       ClientAuthentication = "BASIC"
)

// TokenRequest is how a method obtains a token: OAuth 2.0 client credentials
// (RFC 6749, section 4.4), in the provider's form.
type TokenRequest struct {
	// URL is https, or http on a literal loopback address.
	URL                  string               `json:"url"`
	Body                 BodyFormat           `json:"body"`
	ClientAuthentication ClientAuthentication `json:"client_authentication"`
	// Parameters are additional ones in the body. They use the method's fields.
	Parameters []Placement `json:"-"`
	// DefaultLifetime is used if the answer has no usable expires_in. 1 s to 7 days.
	DefaultLifetime time.Duration `json:"-"`
	// AllowPrivateAddresses allows addresses of the URL's host that are not on the public
	// internet.
	AllowPrivateAddresses bool `json:"allow_private_addresses,omitempty"`
	// EndsPrevious means that the provider ends a token when it issues the next one.
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
