// Package credentials holds the accounts at providers. It does no I/O.
package credentials

import (
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/secret"
)

// IDPattern is what a credential's ID matches: 1 to 128 characters.
const IDPattern = `^[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?$`

var idPattern = regexp.MustCompile(IDPattern)

// ValidID says whether id could be a credential's.
func ValidID(id string) bool { return idPattern.MatchString(id) }

// Credential is one account at a provider. It is not changed once made.
type Credential struct {
	ID          string
	DisplayName string
	Description string
	Labels      map[string]string
	// Disabled credentials are not found by callers.
	Disabled bool
	Provider *catalog.Provider
	Method   *catalog.AuthMethod
	// AllowedHosts are the provider's and the credential's own, each once.
	AllowedHosts []string
	// Values are the fields' values. A field that is not set is absent.
	Values map[string]secret.Text
}

// SameMaterial says whether both are decorated alike: what is for people may differ.
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
