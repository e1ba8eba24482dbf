// Package catalog defines providers and their auth methods in YAML files. Four definitions are
// embedded in this package; the configuration file can define more.
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

// TokenVariable is the variable for the token in the expressions of a token method.
const TokenVariable = "token"

// A token method authenticates to the provider with the values of these two fields.
const (
	ClientIDField     = "client_id"
	ClientSecretField = "client_secret"
)

// Provider is a product whose API is called. As JSON, a Provider is the provider's definition.
type Provider struct {
	ID               string `json:"id"`
	DisplayName      string `json:"display_name"`
	Description      string `json:"description,omitempty"`
	DocumentationURL string `json:"documentation_url,omitempty"`
	// AllowedHosts are the only hosts to which the auth material may be sent. A host is an exact
	// name in lower case, optionally with a port.
	AllowedHosts []string `json:"allowed_hosts"`
	// AuthMethods has at least one entry.
	AuthMethods []*AuthMethod `json:"auth_methods"`

	definition string // the values of all exported fields as JSON
}

// Equal reports whether two providers have the same definition.
func (p *Provider) Equal(other *Provider) bool { return p.definition == other.definition }

// AuthMethod returns the provider's auth method with this ID, or nil.
func (p *Provider) AuthMethod(id string) *AuthMethod {
	for _, method := range p.AuthMethods {
		if method.ID == id {
			return method
		}
	}
	return nil
}

// AuthMethod is one method of a provider to authenticate requests.
type AuthMethod struct {
	ID               string `json:"id"`
	DisplayName      string `json:"display_name"`
	Description      string `json:"description,omitempty"`
	DocumentationURL string `json:"documentation_url,omitempty"`
	// RejectedStatuses are the HTTP statuses with which the provider rejects auth material.
	RejectedStatuses []int `json:"rejected_statuses"`
	// Fields has at least one entry. Each entry describes a value that a credential has for this
	// method.
	Fields []Field `json:"fields"`
	// TokenRequest defines how to obtain a token. TokenRequest is nil if the method uses only
	// fields.
	TokenRequest *TokenRequest `json:"token_request,omitempty"`
	// Headers and QueryParams define where in a request the auth material is placed, and together
	// have at least one entry.
	Headers     []Placement `json:"headers,omitempty"`
	QueryParams []Placement `json:"query_params,omitempty"`
	// Rotation states what happens to the old secret when the provider generates a new one.
	Rotation Rotation `json:"rotation"`
	// Verification defines how to check a credential at the provider. If Verification is nil,
	// credentials cannot be checked.
	Verification *Verification `json:"verification,omitempty"`
}

// Field returns the auth method's field with this ID, or nil.
func (m *AuthMethod) Field(id string) *Field {
	for i := range m.Fields {
		if m.Fields[i].ID == id {
			return &m.Fields[i]
		}
	}
	return nil
}

// UnclassifiedFields returns the IDs of the fields whose definition does not state `secret`. A
// method with such fields cannot be used for managed credentials.
func (m *AuthMethod) UnclassifiedFields() []string {
	var ids []string
	for _, field := range m.Fields {
		if !field.SecretStated {
			ids = append(ids, field.ID)
		}
	}
	return ids
}

// IsMultiline reports whether the value of a field may have several lines: only in the body of a token
// request are line breaks possible. The client's ID and secret have one line even there.
func (m *AuthMethod) IsMultiline(field string) bool {
	if m.TokenRequest == nil || field == ClientIDField || field == ClientSecretField {
		return false
	}
	return !slices.ContainsFunc(slices.Concat(m.Headers, m.QueryParams), func(p Placement) bool {
		return slices.Contains(p.Value.Uses(), field)
	})
}

// Field describes one value of a credential.
type Field struct {
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	// Description explains to operators where to find the value.
	Description string `json:"description,omitempty"`
	Required    bool   `json:"required"`
	// Secret is true if the value must not be shown. Secret is false if SecretStated is false.
	Secret bool `json:"-"`
	// SecretStated is true if the definition states `secret`.
	SecretStated bool `json:"-"`
}

// MarshalJSON returns the definition of the field, in which the character & is not escaped.
func (f Field) MarshalJSON() ([]byte, error) {
	type sameForm Field
	definition := struct {
		sameForm
		Secret *bool `json:"secret,omitempty"`
	}{sameForm: sameForm(f)}
	if f.SecretStated {
		definition.Secret = &f.Secret
	}
	return marshal(definition)
}

// Placement places a value in a header, a query parameter or a body parameter of a request.
type Placement struct {
	Name string `json:"name"`
	// Value is a text with expressions, which may use the fields of the auth method and, in a token
	// method, TokenVariable.
	Value *expression.Template `json:"value"`
}

// BodyFormat is the format of a token request's body.
type BodyFormat string

// These are the supported formats of a token request's body.
const (
	BodyJSON BodyFormat = "JSON"
	BodyForm BodyFormat = "FORM"
)

// ClientAuthentication is the part of a token request that contains the client's ID and secret.
type ClientAuthentication string

// RFC 6749, section 2.3.1, allows the client's ID and secret in the request body and in HTTP Basic
// authentication.
const (
	ClientInRequestBody ClientAuthentication = "REQUEST_BODY"
	ClientInBasic       ClientAuthentication = "BASIC"
)

// TokenRequest defines how an auth method obtains a token with OAuth 2.0 client credentials (RFC
// 6749, section 4.4), in the form that the provider expects.
type TokenRequest struct {
	// URL is an https URL, or an http URL whose host is a literal loopback address.
	URL                  string               `json:"url"`
	Body                 BodyFormat           `json:"body"`
	ClientAuthentication ClientAuthentication `json:"client_authentication"`
	// Parameters are additional parameters in the request's body. Expressions in parameters may use
	// the fields of the auth method.
	Parameters []Placement `json:"-"`
	// DefaultLifetime is the lifetime of a token if the answer has no usable expires_in.
	// DefaultLifetime is between 1 s and 7 days.
	DefaultLifetime time.Duration `json:"-"`
	// AllowPrivateAddresses lets the host of the URL have addresses outside the public internet.
	AllowPrivateAddresses bool `json:"allow_private_addresses,omitempty"`
	// EndsPrevious is true if the provider revokes the previous token when it issues a new one.
	EndsPrevious bool `json:"-"`
}

// MarshalJSON returns the definition of the token request, in which the character & is not escaped.
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
	return marshal(definition)
}

// marshal returns a value as JSON, in which the character & is not escaped.
func marshal(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return text.Bytes(), err
}

// Catalog is an immutable set of providers.
type Catalog struct {
	providers map[string]*Provider
}

// Provider returns the provider with this ID, or nil.
func (c *Catalog) Provider(id string) *Provider { return c.providers[id] }

// Providers returns all providers, sorted by ID.
func (c *Catalog) Providers() []*Provider {
	return slices.SortedFunc(maps.Values(c.providers), func(a, b *Provider) int { return strings.Compare(a.ID, b.ID) })
}

// With returns a copy of the catalog in which the given provider is added, or replaces the provider
// with the same ID.
func (c *Catalog) With(provider *Provider) *Catalog {
	all := map[string]*Provider{provider.ID: provider}
	for id, other := range c.providers {
		all[id] = cmp.Or(all[id], other)
	}
	return &Catalog{providers: all}
}
