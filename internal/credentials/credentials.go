// Package credentials holds the accounts at providers. It does no I/O.
package credentials

import (
	"iter"
	"maps"
	"regexp"
	"slices"

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

// Set is the credentials of one configuration. It is not changed once made.
type Set struct {
	byID map[string]*Credential
}

// NewSet returns the set of these credentials. Of those that share an ID, the last
// one counts.
func NewSet(all ...*Credential) *Set {
	set := &Set{byID: make(map[string]*Credential, len(all))}
	for _, credential := range all {
		set.byID[credential.ID] = credential
	}
	return set
}

// Find returns the credential with this ID, or nil when there is none or it is
// disabled.
func (s *Set) Find(id string) *Credential {
	credential := s.byID[id]
	if credential == nil || credential.Disabled {
		return nil
	}
	return credential
}

// Len is how many credentials the set has, disabled ones included.
func (s *Set) Len() int { return len(s.byID) }

// All are the credentials in the order of their IDs, disabled ones included.
func (s *Set) All() iter.Seq[*Credential] {
	return func(yield func(*Credential) bool) {
		for _, id := range slices.Sorted(maps.Keys(s.byID)) {
			if !yield(s.byID[id]) {
				return
			}
		}
	}
}
