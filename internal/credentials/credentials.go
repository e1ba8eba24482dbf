// Package credentials holds the accounts at providers. It does no I/O.
package credentials

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/secret"
)

// IDPattern is what a credential's ID matches: 1 to 128 characters.
const IDPattern = `^[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?$`

// maxIDSize is the greatest length of an ID.
const maxIDSize = 128

// ValidID reports whether id matches IDPattern. Every call asks, so it uses no regexp.
func ValidID(id string) bool {
	if id == "" || len(id) > maxIDSize || !isAlphanumeric(id[0]) || !isAlphanumeric(id[len(id)-1]) {
		return false
	}
	for i := range len(id) {
		if c := id[i]; !isAlphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// Credential is one account at a provider. It is not changed once made. Its JSON has the
// keys of the configuration file, except the provider, the method and the values.
type Credential struct {
	ID          string            `json:"id"`
	DisplayName string            `json:"display_name"`
	Description string            `json:"description"`
	Labels      map[string]string `json:"labels"`
	// Disabled credentials are not found by callers.
	Disabled bool                `json:"disabled"`
	Provider *catalog.Provider   `json:"-"`
	Method   *catalog.AuthMethod `json:"-"`
	// AllowedHosts are the provider's and the credential's own, each once.
	AllowedHosts []string `json:"allowed_hosts"`
	// Values are the fields' values. A field that is not set is absent.
	Values map[string]secret.Text `json:"-"`
}

// SameMaterial reports whether both are decorated alike: what is for people may differ.
func (c *Credential) SameMaterial(other *Credential) bool {
	return c.ID == other.ID && c.Method.ID == other.Method.ID && c.Provider.Equal(other.Provider) &&
		slices.Equal(c.AllowedHosts, other.AllowedHosts) && maps.EqualFunc(c.Values, other.Values, secret.Text.Equal)
}

// Set is the credentials of one configuration, in the order of their IDs. It is not
// changed once made.
type Set struct {
	all []*Credential
}

// NewSet returns the set of these credentials, which have different IDs.
func NewSet(all ...*Credential) *Set {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b *Credential) int { return strings.Compare(a.ID, b.ID) })
	return &Set{all: sorted}
}

// Len is how many credentials the set has, disabled ones included.
func (s *Set) Len() int { return len(s.all) }

// All are the credentials, disabled ones included.
func (s *Set) All() iter.Seq[*Credential] { return slices.Values(s.all) }
