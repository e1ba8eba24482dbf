package access_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/access"
)

// TestWithoutGrants states what callers may do while no grant exists. Each wanted text has the
// first letters of those actions `use`, `view`, `manage` and `operate` that are allowed.
func TestWithoutGrants(t *testing.T) {
	open, closed := access.AllowAll(), access.NewPolicy()
	callers := []access.Caller{
		{Name: "local", Method: "none"},                      // over TCP
		{Name: "local", Method: "none", PrivateSocket: true}, // over a Unix socket with mode 0600
		{Name: "uid:1000", Method: "peer_user"},              // over a Unix socket with mode 0660
		{Name: "uid:1000", Method: "peer_user", PrivateSocket: true},
		{Name: "uid:7", Method: "peer_user", PrivateSocket: true},
		{Name: "jwt:okta:eve", Method: "jwt", Groups: []string{"group:okta:admins"}},
		{},
	}
	for name, test := range map[string]struct {
		policy *access.Policy
		want   [7]string
	}{
		"open":                        {open, [7]string{"uvo", "uvmo", "uvo", "uvmo", "uvmo", "uvo", "uvo"}},
		"open, for a user":            {open.WithAdministrators("uid:1000"), [7]string{"uvo", "uvo", "uvmo", "uvmo", "uvo", "uvo", "uvo"}},
		"open, for a group":           {open.WithAdministrators("group:*:admins"), [7]string{"uvo", "uvo", "uvo", "uvo", "uvo", "uvmo", "uvo"}},
		"open, for everybody":         {open.WithAdministrators("*"), [7]string{"uvo", "uvmo", "uvmo", "uvmo", "uvmo", "uvmo", "uvo"}},
		"closed":                      {closed, [7]string{}},
		"closed, for a user":          {closed.WithAdministrators("uid:1000"), [7]string{2: "vmo", 3: "vmo"}},
		"closed, for a group":         {closed.WithAdministrators("group:okta:admins"), [7]string{5: "vmo"}},
		"closed, for everybody":       {closed.WithAdministrators("*"), [7]string{"vo", "vmo", "vmo", "vmo", "vmo", "vmo", ""}},
		"closed, for unauthenticated": {closed.WithAdministrators("local"), [7]string{"vo", "vmo", "", "", "", "", ""}},
	} {
		for i, caller := range callers {
			if got := allowed(test.policy, &caller); got != test.want[i] {
				t.Errorf("%s: the actions of the caller %+v are %q, want %q", name, caller, got, test.want[i])
			}
			if got, want := test.policy.MayCreate(&caller), strings.Contains(test.want[i], "m"); got != want {
				t.Errorf("%s: the caller %+v may create credentials: %t", name, caller, got)
			}
		}
	}
}

// allowed returns the first letters of the actions that a caller may perform on a credential. The
// actions must be the same for an existing and for a missing credential.
func allowed(policy *access.Policy, caller *access.Caller) string {
	var texts [2]string
	for i, object := range []access.Object{{CredentialID: "mail", Provider: "sendpulse"}, {CredentialID: "none"}} {
		for _, action := range access.Actions() {
			allowed := policy.Decide(caller, action, object).Allowed
			if allowed {
				texts[i] += string(action[:1])
			}
			if policy.Narrow(caller, action).Decide(caller, action, object).Allowed != allowed {
				texts[i] += "!" // the narrowed policy decides otherwise
			}
		}
	}
	if texts[0] != texts[1] {
		return fmt.Sprintf("%s of an existing credential, %s of a missing one", texts[0], texts[1])
	}
	return texts[0]
}

// TestMayCreate checks which grants let callers create credentials.
func TestMayCreate(t *testing.T) {
	grant := func(caller access.Pattern, action access.Action) access.Grant {
		return access.Grant{Callers: []access.Pattern{caller}, Credentials: []access.Pattern{"mail-*"}, Actions: []access.Action{action}}
	}
	byProvider := access.Grant{Callers: []access.Pattern{"uid:3"}, Providers: []string{"pendo"}, Actions: []access.Action{access.Manage}}
	policy := access.NewPolicy(grant("uid:1", access.Manage), grant("uid:2", access.Use), byProvider, grant("local", access.Manage))
	for name, want := range map[string]bool{"uid:1": true, "uid:2": false, "uid:3": false, "uid:4": false, "local": false} {
		if got := policy.MayCreate(access.NamedCaller(name)); got != want {
			t.Errorf("%s may create credentials: %t", name, got)
		}
	}
}

// TestGrantsReplaceAdministrators checks that administrators have no rights of their own as soon
// as the policy has one grant, whatever the grant is for.
func TestGrantsReplaceAdministrators(t *testing.T) {
	grant := access.Grant{Callers: []access.Pattern{"uid:2"}, Credentials: []access.Pattern{"*"}, Actions: []access.Action{access.Manage}}
	policy := access.NewPolicy(grant).WithAdministrators("uid:1")
	for name, want := range map[string]string{"uid:1": "", "uid:2": "vm"} {
		if got := allowed(policy, access.NamedCaller(name)); got != want {
			t.Errorf("the actions of the caller %s are %q, want %q", name, got, want)
		}
	}
}

// TestUnauthenticatedOverTCPNeverManages checks that a caller who was not authenticated and calls
// over TCP may not manage, whatever the grants are.
func TestUnauthenticatedOverTCPNeverManages(t *testing.T) {
	for _, pattern := range []access.Pattern{"*", "local", "loc*"} {
		policy := access.NewPolicy(access.Grant{
			Callers: []access.Pattern{pattern}, Credentials: []access.Pattern{"*"}, Actions: access.Actions(),
		})
		for private, want := range map[bool]string{false: "uvo", true: "uvmo"} {
			if got := allowed(policy, &access.Caller{Name: "local", Method: "none", PrivateSocket: private}); got != want {
				t.Errorf("the caller pattern is %s, and the caller uses a private socket: %v; the caller's actions are %q, want %q", pattern, private, got, want)
			}
		}
	}
}

func TestGroups(t *testing.T) {
	member := access.Caller{Name: "jwt:okta:eve", Method: "jwt", Groups: []string{"group:okta:*", "group:okta:admins"}}
	others := access.Caller{Name: "jwt:okta:bob", Method: "jwt"}
	for pattern, want := range map[access.Pattern][2]bool{ // whether the pattern matches `member`, and whether the pattern matches `others`
		"group:okta:admins":  {true, false},
		"group:okta:*":       {true, false},
		"group:*":            {true, false},
		"group:okta:admin":   {},
		"group:okta:Admins":  {},
		"group:azure:admins": {},
		"group:okta:users":   {}, // the group named `*` is not a pattern
		"group:okta:eve":     {},
		"okta:admins":        {},
		"*admins":            {},
		"*:okta:admins":      {},
		"g*":                 {},
		"jwt:okta:*":         {true, true},
		"*":                  {true, true},
	} {
		policy := access.NewPolicy(access.Grant{Callers: []access.Pattern{pattern}, Credentials: []access.Pattern{"*"}, Actions: []access.Action{access.Use}})
		for i, caller := range []access.Caller{member, others} {
			if got := policy.Decide(&caller, access.Use, access.Object{CredentialID: "a"}).Allowed; got != want[i] {
				t.Errorf("the caller pattern is %s; the caller %s is allowed: %v, want %v", pattern, caller.Name, got, want[i])
			}
		}
		nameless := access.Caller{Groups: member.Groups}
		if policy.Decide(&nameless, access.Use, access.Object{CredentialID: "a"}).Allowed {
			t.Errorf("the caller pattern %s allows a caller without a name", pattern)
		}
	}
}
