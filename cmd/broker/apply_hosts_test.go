package main

import (
	"testing"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
)

// TestHostsThatApplyCompares checks that a host which the provider has for the values of a credential is
// no host that the credential adds.
func TestHostsThatApplyCompares(t *testing.T) {
	for _, test := range []struct {
		wanted  []string
		changed bool
	}{
		{nil, false},
		{[]string{"more.test"}, false},
		{[]string{"shop.example.com", "more.test"}, false},
		{[]string{"other.test"}, true},
	} {
		p := &plan{
			hosts:    test.wanted,
			method:   &authmaterialv1.AuthMethod{Fields: []*authmaterialv1.Field{{FieldId: "name"}}},
			provider: &authmaterialv1.Provider{AllowedHosts: []string{"${name}.example.com", "${others}.example.com"}},
			present: &authmaterialv1.Credential{
				AllowedHosts: []string{"shop.example.com", "more.test"}, PublicValues: map[string]string{"name": "shop"},
			},
		}
		(&planner{}).compareValues(p, &config.ManagedCredential{})
		if p.newVersion != test.changed {
			t.Errorf("%q: a new version is needed: %v, want %v; the changes are %q", test.wanted, p.newVersion, test.changed, p.changes)
		}
	}
}
