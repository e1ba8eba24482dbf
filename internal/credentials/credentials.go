// Package credentials defines credentials, which are accounts at providers. It does no I/O.
package credentials

import (
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/secret"
)

// IDPattern is the regular expression for the ID of a credential, which has 1 to 128 characters.
const IDPattern = `^[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?$`

const maxIDSize = 128

var notInMadeIDs = regexp.MustCompile(`[^a-z0-9]+`)

// IDOf makes a credential ID from a display name. The result is empty if the name has no letter from a
// to z and no digit.
func IDOf(name string) string {
	id := notInMadeIDs.ReplaceAllString(strings.ToLower(name), "-")
	return strings.Trim(id[:min(len(id), maxIDSize)], "-")
}

// ValidID reports whether an ID matches IDPattern. ValidID does not use the regular expression,
// because every call to the broker runs ValidID, which must be fast.
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

// Credential is an account at a provider. A Credential is immutable. Its JSON has the keys of the
// configuration file, except for `provider`, `auth_method` and `values`.
type Credential struct {
	ID          string            `json:"id"`
	DisplayName string            `json:"display_name"`
	Description string            `json:"description"`
	Labels      map[string]string `json:"labels"`
	// Disabled credentials are hidden from callers.
	Disabled bool `json:"disabled"`
	// KeepWarm makes the broker obtain and renew the credential's token even if nobody uses it.
	KeepWarm bool `json:"keep_warm"`
	// SecretExpireTime is when the secret expires at the provider, or zero if it never expires or
	// the time is unknown.
	SecretExpireTime time.Time           `json:"secret_expire_time,omitzero"`
	Provider         *catalog.Provider   `json:"-"`
	Method           *catalog.AuthMethod `json:"-"`
	// AllowedHosts are the allowed hosts of the provider and of the credential, without duplicates.
	AllowedHosts []string `json:"allowed_hosts"`
	// Values are the values of the fields, by field ID. A field without a value is absent. Values
	// is nil while the values of a managed credential are encrypted: see Stored.
	Values map[string]secret.Text `json:"-"`
	// Stored is the version of a managed credential. It is nil for a declared credential.
	Stored *Stored `json:"-"`
	// Canary is the version that some callers get instead of this version, or nil.
	Canary *Canary `json:"-"`
}

// Stored is a version of a managed credential.
type Stored struct {
	// Number is the number of the version, from 1.
	Number int
	// ID identifies the values and the allowed hosts of the version: it is random, and never
	// used for another version.
	ID string
	// Problem is a sentence that explains to people why the version cannot be used with the present
	// definition of its provider, or empty. With a problem, Open fails.
	Problem string
	// Open decrypts the values of the fields. It may be called more than once.
	Open func() (map[string]secret.Text, error)
}

// Canary is a version of a managed credential that only some callers get.
type Canary struct {
	// Callers are patterns for the names of these callers.
	Callers    []access.Pattern
	Credential *Credential
}

// AllowsHost reports whether the credential's material may be sent to a host. The host has an optional
// port, and stands for port 443 without one.
func (c *Credential) AllowsHost(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ":443")
	return slices.ContainsFunc(c.AllowedHosts, func(allowed string) bool {
		return host == strings.TrimSuffix(allowed, ":443")
	})
}

// SameMaterial reports whether two credentials decorate requests identically. It ignores names,
// labels and other parts of a credential that do not affect decoration.
func (c *Credential) SameMaterial(other *Credential) bool {
	return c.ID == other.ID && c.Method.ID == other.Method.ID && c.Provider.Equal(other.Provider) &&
		slices.Equal(c.AllowedHosts, other.AllowedHosts) && c.sameValues(other)
}

func (c *Credential) sameValues(other *Credential) bool {
	if c.Stored != nil && other.Stored != nil {
		return c.Stored.ID == other.Stored.ID && c.Stored.Problem == other.Stored.Problem
	}
	return c.Stored == other.Stored && maps.EqualFunc(c.Values, other.Values, secret.Text.Equal)
}

// Set is the immutable set of credentials of one configuration, sorted by ID.
type Set struct {
	all []*Credential
}

// NewSet returns the set of the given credentials, whose IDs must differ.
func NewSet(all ...*Credential) *Set {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b *Credential) int { return strings.Compare(a.ID, b.ID) })
	return &Set{all: sorted}
}

// Get returns the credential with this ID, or nil.
func (s *Set) Get(id string) *Credential {
	if at, found := s.search(id); found {
		return s.all[at]
	}
	return nil
}

// After returns the credentials whose IDs sort after the given ID.
func (s *Set) After(id string) iter.Seq[*Credential] {
	at, found := s.search(id)
	if found {
		at++
	}
	return slices.Values(s.all[at:])
}

func (s *Set) search(id string) (int, bool) {
	return slices.BinarySearchFunc(s.all, id, func(c *Credential, id string) int { return strings.Compare(c.ID, id) })
}

// Len returns the number of credentials in the set, including disabled ones.
func (s *Set) Len() int { return len(s.all) }

// All returns all credentials of the set, including disabled ones.
func (s *Set) All() iter.Seq[*Credential] { return slices.Values(s.all) }
