package access_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/authmaterial/broker/internal/access"
)

// callerKinds contains an example for each kind of caller: a name, a pattern that matches the name,
// and a similar pattern that does not match it.
var callerKinds = []struct{ name, pattern, near string }{
	{"spiffe://prod/ns/a/web", "spiffe://prod/ns/*/web", "spiffe://prod/ns/*/job"},
	{"dns:web.prod.test", "dns:*.prod.test", "dns:*.test.prod"},
	{"subject:CN=web,O=Acme", "subject:CN=*,O=Acme", "subject:CN=*,O=Acm"},
	{"jwt:ci:repo:acme/web", "jwt:ci:repo:acme/*", "jwt:c:repo:acme/*"},
	{"uid:1000", "uid:*", "uid:100"},
	{"token:ci", "token:*", "token:c"},
	{"local", "local", "loca"},
}

// objects lists the ways in which a grant can apply to the credential "mail" of the provider
// "sendpulse".
var objects = []struct {
	name  string
	grant access.Grant
	// The field `exists` states whether the grant applies to the existing credential. The field
	// `missing` states whether the grant applies to the ID if no such credential exists.
	exists, missing bool
}{
	{"exact ID", access.Grant{Credentials: []access.Pattern{"mail"}}, true, true},
	{"pattern", access.Grant{Credentials: []access.Pattern{"board", "m*l"}}, true, true},
	{"everything", access.Grant{Credentials: []access.Pattern{"*"}}, true, true},
	{"provider", access.Grant{Providers: []string{"pendo", "sendpulse"}}, true, false},
	{"provider and another ID", access.Grant{Credentials: []access.Pattern{"board"}, Providers: []string{"sendpulse"}}, true, false},
	{"another ID", access.Grant{Credentials: []access.Pattern{"mai", "mail2", "MAIL"}}, false, false},
	{"another provider", access.Grant{Providers: []string{"pendo", "send*", "*", ""}}, false, false},
	{"nothing", access.Grant{}, false, false},
}

// grantable returns every set of actions that a grant can have.
func grantable() [][]access.Action {
	sets := [][]access.Action{nil}
	for _, action := range access.Actions() {
		for _, set := range sets {
			sets = append(sets, append(slices.Clone(set), action))
		}
	}
	return sets
}

// `includes` states the rule for actions: a grant allows only the actions that it lists, except that
// the action `manage` includes the action `view`.
func includes(granted []access.Action, asked access.Action) bool {
	return slices.Contains(access.Actions(), asked) &&
		(slices.Contains(granted, asked) || asked == "view" && slices.Contains(granted, "manage"))
}

// TestDecide checks every combination of caller, credential and action. Disabled credentials need
// no test of their own, because the policy treats them like enabled credentials.
func TestDecide(t *testing.T) {
	for _, kind := range callerKinds {
		caller := &access.Caller{Name: kind.name, PrivateSocket: true}
		for pattern, named := range map[string]bool{kind.name: true, kind.pattern: true, "*": true, kind.near: false, "": false, "group:*": false} {
			for _, object := range objects {
				for _, actions := range grantable() {
					grant := object.grant
					grant.Callers = []access.Pattern{"token:another", access.Pattern(pattern)}
					grant.Actions, grant.Source = actions, "broker.yaml:3"
					policy := access.NewPolicy(access.Grant{}, grant)
					for provider, matches := range map[string]bool{"sendpulse": object.exists, "": object.missing} {
						for _, asked := range append(access.Actions(), "", "USE") {
							want := named && (matches || asked == access.Operate) && includes(actions, asked)
							got := policy.Decide(caller, asked, access.Object{CredentialID: "mail", Provider: provider})
							where := fmt.Sprintf("%s named by %q, %s of provider %q, %q of %q", kind.name, pattern, object.name, provider, asked, actions)
							if narrow := policy.Narrow(caller, asked).Decide(caller, asked, access.Object{CredentialID: "mail", Provider: provider}); narrow.Allowed != got.Allowed || (narrow.Grant == nil) != (got.Grant == nil) {
								t.Errorf("%s: the policy that Narrow returns makes another decision: allowed is %v", where, narrow.Allowed)
							}
							if got.Allowed != want {
								t.Errorf("%s: the action is allowed: %v, want %v", where, got.Allowed, want)
							}
							if want != (got.Grant != nil && got.Grant.Source == "broker.yaml:3") {
								t.Errorf("%s: the grant in the decision is %v", where, got.Grant)
							}
						}
					}
				}
			}
		}
	}
}

func TestPolicies(t *testing.T) {
	all := access.Grant{Callers: []access.Pattern{"*"}, Credentials: []access.Pattern{"*"}, Actions: []access.Action{access.Use}}
	for name, test := range map[string]struct {
		policy     *access.Policy
		named      bool // whether the policy allows the action to a caller that has a name
		nameless   bool
		deniesAll  bool
		withAGrant bool
	}{
		"zero value":   {policy: new(access.Policy), deniesAll: true},
		"no grants":    {policy: access.NewPolicy(), deniesAll: true},
		"one for all":  {policy: access.NewPolicy(all), named: true, withAGrant: true},
		"open to all":  {policy: access.AllowAll(), named: true, nameless: true},
		"empty grant":  {policy: access.NewPolicy(access.Grant{})},
		"for no name":  {policy: access.NewPolicy(access.Grant{Callers: []access.Pattern{""}, Credentials: all.Credentials, Actions: all.Actions})},
		"all but name": {policy: access.NewPolicy(access.Grant{Credentials: all.Credentials, Actions: all.Actions})},
	} {
		object := access.Object{CredentialID: "mail", Provider: "sendpulse"}
		named, nameless := test.policy.Decide(access.NamedCaller("uid:1"), access.Use, object), test.policy.Decide(access.NamedCaller(""), access.Use, object)
		if named.Allowed != test.named || nameless.Allowed != test.nameless || (named.Grant != nil) != test.withAGrant || nameless.Grant != nil {
			t.Errorf("%s: the decision is %+v for a caller with a name, and %+v for a caller without a name", name, named, nameless)
		}
		if got := test.policy.DeniesAll(); got != test.deniesAll {
			t.Errorf("%s: the policy denies everything: %v, want %v", name, got, test.deniesAll)
		}
	}
}

func TestFirstGrantDecides(t *testing.T) {
	grant := func(source string, callers ...access.Pattern) access.Grant {
		return access.Grant{Callers: callers, Credentials: []access.Pattern{"*"}, Actions: []access.Action{access.Use}, Source: source}
	}
	policy := access.NewPolicy(grant("1", "uid:2"), grant("2", "uid:1"), grant("3", "*"))
	for caller, want := range map[string]string{"uid:1": "2", "uid:2": "1", "uid:3": "3"} {
		if got := policy.Decide(access.NamedCaller(caller), access.Use, access.Object{CredentialID: "a"}); got.Grant == nil || got.Grant.Source != want {
			t.Errorf("%s is allowed by %v, want grant %s", caller, got.Grant, want)
		}
	}
}

func TestExplain(t *testing.T) {
	sources := func(grants []access.Grant) string {
		text := ""
		for _, g := range grants {
			text += g.Source
		}
		return text
	}
	grant := func(source, caller, credential string, action access.Action) access.Grant {
		return access.Grant{
			Callers: []access.Pattern{access.Pattern(caller)}, Credentials: []access.Pattern{access.Pattern(credential)},
			Actions: []access.Action{action}, Source: source,
		}
	}
	policy := access.NewPolicy(
		grant("1", "uid:1", "board", access.Use),
		grant("2", "uid:2", "mail", access.Use),
		grant("3", "uid:1", "mail", access.Manage),
		grant("4", "uid:2", "board", access.Use),
	)
	for caller, want := range map[string]string{"uid:1": "false 13 23", "uid:2": "true 24 23", "uid:3": "false  23", "": "false  23"} {
		e := policy.Explain(access.NamedCaller(caller), access.Use, access.Object{CredentialID: "mail"})
		if got := fmt.Sprint(e.Allowed, " ", sources(e.ByCaller), " ", sources(e.ByCredential)); got != want {
			t.Errorf("%q: the explanation is %q, want %q", caller, got, want)
		}
	}
}
