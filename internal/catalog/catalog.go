// Package catalog defines providers and their auth methods in YAML files. The definitions of the
// built-in providers are embedded in this package; the configuration file can define more.
package catalog

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/authmaterial/broker/internal/expression"
)

// TokenVariable is the variable for the token in the expressions of a token method.
const TokenVariable = "token"

// Provider is a product whose API is called. As JSON, a Provider is the provider's definition.
type Provider struct {
	ID               string `json:"id"`
	DisplayName      string `json:"display_name"`
	Description      string `json:"description,omitempty"`
	DocumentationURL string `json:"documentation_url,omitempty"`
	// Sources are links to the documentation and the programs that confirm the definition. A
	// built-in definition with fewer than two is unverified.
	Sources []string `json:"sources,omitempty"`
	// AllowedHosts are the only hosts to which the auth material may be sent, as in the definition: a
	// host is an exact name in lower case, optionally with a port, and may have expressions. The
	// method Hosts returns the hosts for one credential.
	AllowedHosts []string `json:"allowed_hosts"`
	// AnyHost is true if customers of the provider choose the domain of a host.
	AnyHost bool `json:"any_host,omitempty"`
	// AuthMethods has at least one entry.
	AuthMethods []*AuthMethod `json:"auth_methods"`

	builtin    bool
	hosts      []Host
	definition string // the values of all exported fields as JSON
}

// Equal reports whether two providers have the same definition.
func (p *Provider) Equal(other *Provider) bool { return p.definition == other.definition }

// IsUnverified reports whether too few sources confirm the definition for a built-in provider.
func (p *Provider) IsUnverified() bool { return len(p.Sources) < 2 && p.builtin }

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
	// RejectedWhen describes further answers with which the provider rejects auth material. Each
	// condition has at least one status.
	RejectedWhen []Condition `json:"rejected_when,omitempty"`
	// Fields has at least one entry. Each entry describes a value that a credential has for this
	// method.
	Fields []Field `json:"fields"`
	// TokenRequest defines how to obtain a token. TokenRequest is nil if the method uses only
	// fields.
	TokenRequest *TokenRequest `json:"token_request,omitempty"`
	// JWT defines a token that the broker signs itself. JWT or TokenRequest is nil.
	JWT *JWT `json:"jwt,omitempty"`
	// Headers and QueryParams define where in a request the auth material is placed, and together
	// have at least one entry.
	Headers     []Placement `json:"headers,omitempty"`
	QueryParams []Placement `json:"query_params,omitempty"`
	// Rotation states what happens to the old secret when the provider generates a new one.
	Rotation Rotation `json:"rotation"`
	// Verification defines how to check a credential at the provider. If Verification is nil,
	// credentials cannot be checked.
	Verification *Verification `json:"verification,omitempty"`

	tokenUses []string // the variables in TokenRequest or JWT
	oneLine   []string // the fields whose values must have one line
	inURLs    []string // the fields that are part of a host or a URL
}

// HasToken reports whether the material contains a token, which the broker obtains or signs.
func (m *AuthMethod) HasToken() bool { return m.TokenRequest != nil || m.JWT != nil }

// EndsPrevious reports whether a new token ends the previous one.
func (m *AuthMethod) EndsPrevious() bool { return m.TokenRequest != nil && m.TokenRequest.EndsPrevious }

// ReplacesRefreshToken reports whether the provider may replace the refresh token of a credential with
// each token.
func (m *AuthMethod) ReplacesRefreshToken() bool {
	return m.TokenRequest != nil && m.TokenRequest.Response.RefreshToken != nil
}

// TokenFields returns the IDs of the fields on which the token depends.
func (m *AuthMethod) TokenFields() []string { return m.fieldsAmong(m.tokenUses) }

// FieldsInURLs returns the IDs of the fields that are part of a host or a URL to which secrets are
// sent.
func (m *AuthMethod) FieldsInURLs() []string { return m.fieldsAmong(m.inURLs) }

func (m *AuthMethod) fieldsAmong(variables []string) (ids []string) {
	for _, field := range m.Fields {
		if slices.Contains(variables, field.ID) {
			ids = append(ids, field.ID)
		}
	}
	return ids
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

// IsMultiline reports whether the value of a field may have several lines: a field that is part of a
// header, a query parameter, a host or a URL has one line, and so have the client's ID and secret. The
// argument of a function that reads JSON, a key or a certificate may have several lines.
func (m *AuthMethod) IsMultiline(field string) bool { return !slices.Contains(m.oneLine, field) }

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
	// OnlyIfAbsent is true if the header is not added to a request that has the header already.
	OnlyIfAbsent bool `json:"only_if_absent,omitempty"`
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
	providers map[string]func() *Provider // the keys are the IDs
}

// Len returns the number of providers.
func (c *Catalog) Len() int { return len(c.providers) }

// Provider returns the provider with this ID, or nil.
func (c *Catalog) Provider(id string) *Provider {
	if read, found := c.providers[id]; found {
		return read()
	}
	return nil
}

// Providers returns all providers, sorted by ID.
func (c *Catalog) Providers() []*Provider {
	all := make([]*Provider, 0, c.Len())
	for _, id := range slices.Sorted(maps.Keys(c.providers)) {
		all = append(all, c.Provider(id))
	}
	return all
}

// With returns a copy of the catalog in which the given providers are added, or replace the providers
// with the same IDs.
func (c *Catalog) With(providers ...*Provider) *Catalog {
	all := make(map[string]func() *Provider, len(c.providers)+len(providers))
	maps.Copy(all, c.providers)
	for _, provider := range providers {
		all[provider.ID] = func() *Provider { return provider }
	}
	return &Catalog{providers: all}
}
