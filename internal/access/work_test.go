package access_test

import (
	"fmt"
	"testing"

	"github.com/authmaterial/broker/internal/access"
)

// The number of comparisons before a denial must not depend on the credential, nor on whether it
// exists. A credential may be compared only with the grants that match the caller.
func TestDenialsTakeTheSameWork(t *testing.T) {
	const grants, callers = 40, 25
	var all []access.Grant
	for g := range grants {
		grant := access.Grant{Credentials: []access.Pattern{access.Pattern(fmt.Sprintf("team-%d-*", g)), "shared"}, Providers: []string{"pendo"}, Actions: []access.Action{access.Use}}
		for c := range callers {
			grant.Callers = append(grant.Callers, access.Pattern(fmt.Sprintf("spiffe://prod/ns/team-%d/sa-%d", g, c)))
		}
		all = append(all, grant)
	}
	own := func(g access.Grant) access.Grant {
		g.Callers, g.Actions = []access.Pattern{"token:some"}, []access.Action{access.Use}
		return g
	}
	all = append(all, own(access.Grant{Credentials: []access.Pattern{"mine-*"}}),
		own(access.Grant{Credentials: []access.Pattern{"mine"}, Providers: []string{"spotdraft", "pulsedive"}}))
	policy := access.NewPolicy(all...)
	for caller, own := range map[string]int{"token:none": 0, "spiffe://prod/ns/team-0/sa-99": 0, "token:some": 4} {
		want := grants*callers + 2 + own
		who := access.NamedCaller(caller)
		for _, object := range []access.Object{
			{CredentialID: "shared", Provider: "sendpulse"}, // exists, and every other caller may use it
			{CredentialID: "team-0-mail", Provider: "pendo"},
			{CredentialID: "team-39-mail", Provider: "sendpulse"},
			{CredentialID: "team-0-none"}, // does not exist
			{CredentialID: "none"},
		} {
			got := policy.Decide(who, access.Use, object)
			if got.Allowed || got.Compared != want {
				t.Errorf("the caller %s is allowed to use %+v: %v, after %d comparisons; want a denial after %d", caller, object, got.Allowed, got.Compared, want)
			}
		}
	}
}
