package authentication_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/testing/authtest"
)

// TestGroupsOfToken checks which groups a token puts its caller into.
func TestGroupsOfToken(t *testing.T) {
	many, want := []string{}, []string{}
	for i := range 101 {
		many = append(many, fmt.Sprint("g", i))
		want = append(want, fmt.Sprint("group:main:g", i))
	}
	want = want[:100]
	slices.Sort(want)
	long := strings.Repeat("é", 256)
	issuer := fileIssuer("main", keyES)
	issuer.GroupsClaim = "roles"
	jwt := newJWT(t, issuer)
	for name, test := range map[string]struct {
		claim any
		want  []string
	}{
		"no claim":          {nil, nil},
		"one string":        {"admins", []string{"group:main:admins"}},
		"a list":            {[]string{"users", "admins", "users"}, []string{"group:main:admins", "group:main:users"}},
		"a star":            {"*", []string{"group:main:*"}},
		"colons and spaces": {"a: b", []string{"group:main:a: b"}},
		"of 256 characters": {long, []string{"group:main:" + long}},
		"of 257 characters": {[]string{long + "é", "a"}, []string{"group:main:a"}},
		"101 groups":        {many, want},
		"other types":       {[]any{7, "a", nil, true, []string{"b"}, map[string]any{"c": "d"}}, []string{"group:main:a"}},
		"a number":          {7, nil},
		"an object":         {map[string]any{"a": "b"}, nil},
		"no visible name":   {[]string{"", " ", "a\nb", "a\u202eb"}, nil},
	} {
		caller, err := jwt.Authenticate(t.Context(), bearer(mint(keyES, nil, authtest.Claims{"roles": test.claim})))
		if err != nil || caller.Name != "jwt:main:alice" || !reflect.DeepEqual(caller.Groups, test.want) {
			t.Errorf("%s: the caller is %s with the groups %q (%v), want %q", name, caller.Name, caller.Groups, err, test.want)
		}
	}
}

// TestGroupsNeedTheSetting checks that the claim with groups is used only if the issuer's
// configuration names it.
func TestGroupsNeedTheSetting(t *testing.T) {
	issuer := fileIssuer("main", keyES)
	for setting, want := range map[string]int{"": 0, "Groups": 0, "groups": 1} {
		issuer.GroupsClaim = setting
		caller, err := newJWT(t, issuer).Authenticate(t.Context(), bearer(mint(keyES, nil, authtest.Claims{"groups": "a"})))
		if err != nil || len(caller.Groups) != want {
			t.Errorf("with the setting %q, the groups are %q (%v), want %d groups", setting, caller.Groups, err, want)
		}
	}
}
