package management_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/management"
)

// TestFieldBecomesSecret checks that a value which was stored as public is not shown after the
// definition of the provider has made its field secret, and that the next version encrypts it.
func TestFieldBecomesSecret(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + acme))
	one := newAcme("one", "first")
	one.Values = values(map[string]string{"name": "was-public", "token": "first"})
	if made := r.created(one); made.PublicValues["name"] != "was-public" {
		t.Fatalf("the new credential has the public values %v", made.PublicValues)
	}
	r.reload(w.parse(grants + strings.Replace(acme, "secret: false", "secret: true", 1)))
	check := func(after string) {
		t.Helper()
		found := r.one()
		if len(found.PublicValues) != 0 || !slices.Equal(found.SecretFields, []string{"name", "token"}) {
			t.Errorf("%s, the credential has the public values %v and the secret fields %v", after, found.PublicValues, found.SecretFields)
		}
		versions, err := r.Versions(t.Context(), r.admin(), "one")
		if err != nil || len(versions[0].PublicValues) != 0 || !slices.Contains(versions[0].SecretFields, "name") {
			t.Errorf("%s, a version has the public values %v and the secret fields %v; the error is %v",
				after, versions[0].PublicValues, versions[0].SecretFields, err)
		}
	}
	check("after the change of the definition")
	r.addVersion(management.NewVersion{ETag: r.one().ETag, Activate: true})
	check("after the next version")
	_, stored, err := r.store.Credential(t.Context(), "one")
	if err != nil || len(stored[1].PublicValues) != 0 {
		t.Errorf("the next version is stored with the public values %v; the error is %v", stored[1].PublicValues, err)
	}
	r.addVersion(management.NewVersion{
		ETag: r.one().ETag, Activate: true, Values: values(map[string]string{"name": "new"}),
	})
	if got, want := r.values("one"), map[string]string{"name": "new", "token": "first"}; !maps.Equal(got, want) {
		t.Errorf("the credential has the values %v, want %v", got, want)
	}
}

// TestDefinitionIsLost checks that a stored credential is served no longer, and shows no value, while
// its provider, its auth method or the key `secret` of a field is not defined.
func TestDefinitionIsLost(t *testing.T) {
	w := newWorld(t)
	complete := w.parse(grants + acme)
	r := w.replica(complete)
	one := newAcme("one", "first")
	one.Values = values(map[string]string{"name": "was-public", "token": "first"})
	r.created(one)
	for text, want := range map[string]string{
		grants: `the provider "acme" is not defined`,
		grants + strings.Replace(acme, "id: key", "id: other", 1):       `has no auth method "key"`,
		grants + strings.Replace(acme, ", secret: false", "", 1):        "whether these fields are secret: name:",
		grants + strings.Replace(acme, "true, secret: true", "true", 1): "whether these fields are secret: token:",
	} {
		r.reload(w.parse(text))
		served := r.served.get("one").Stored
		if _, err := served.Open(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(served.Problem, want) {
			t.Errorf("the served credential has the problem %q, and opening it returned the error %v; want %q", served.Problem, err, want)
		}
		found := r.one()
		versions, err := r.Versions(t.Context(), r.admin(), "one")
		if err != nil {
			t.Fatal(err)
		}
		hidden := !strings.Contains(want, "token")
		for _, public := range []map[string]string{found.PublicValues, versions[0].PublicValues} {
			if (len(public) == 0) != hidden || public["token"] != "" {
				t.Errorf("%s: the public values are %v", want, public)
			}
		}
		_, err = r.Verify(t.Context(), r.admin(), "one", 0, nil, false)
		wantReason(t, err, "VERIFICATION_UNSUPPORTED")
		_, _, err = r.CreateVersion(t.Context(), r.admin(), "one", management.NewVersion{ETag: found.ETag})
		wantReason(t, err, "INVALID_REQUEST")
	}
	r.reload(complete)
	if got := r.values("one"); got["token"] != "first" || r.served.get("one").Stored.Problem != "" {
		t.Errorf("after the definition was restored, the values are %v", got)
	}
}

// TestFieldBecomesPublic checks that a value which was stored as a secret stays secret after the
// definition has made its field public, until somebody sends a new value.
func TestFieldBecomesPublic(t *testing.T) {
	w := newWorld(t)
	public := w.parse(grants + acme)
	r := w.replica(w.parse(grants + strings.Replace(acme, "secret: false", "secret: true", 1)))
	one := newAcme("one", "first")
	one.Values = values(map[string]string{"name": "was-secret", "token": "first"})
	r.created(one)
	r.reload(public)
	r.addVersion(management.NewVersion{ETag: r.one().ETag, Activate: true})
	if found := r.one(); len(found.PublicValues) != 0 {
		t.Errorf("a secret was made public: %v", found.PublicValues)
	}
	r.addVersion(management.NewVersion{
		ETag: r.one().ETag, Activate: true, Values: values(map[string]string{"name": "new"}),
	})
	if found := r.one(); found.PublicValues["name"] != "new" || !slices.Equal(found.SecretFields, []string{"token"}) {
		t.Errorf("the credential has the public values %v and the secret fields %v", found.PublicValues, found.SecretFields)
	}
}

// TestRemovedField checks that a new version does not keep the value of a field that the definition
// does not have any more.
func TestRemovedField(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + acme))
	one := newAcme("one", "first")
	one.Values = values(map[string]string{"name": "x", "token": "first"})
	r.created(one)
	without := strings.NewReplacer("          - {id: name, display_name: Name, secret: false}\n", "",
		"          - {name: x-name, value: \"${name}\"}\n", "").Replace(acme)
	r.reload(w.parse(grants + without))
	_, changed := r.addVersion(management.NewVersion{ETag: r.one().ETag, Activate: true})
	if len(changed.PublicValues) != 0 {
		t.Errorf("the new version has the public values %v", changed.PublicValues)
	}
}

// TestHostsThatAreNotAllowedAnyMore checks that material is not sent to a host after the operator
// has removed it from store.allowed_hosts.
func TestHostsThatAreNotAllowedAnyMore(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + acme))
	one := newAcme("one", "first")
	one.AllowedHosts = []string{"eu.acme.test", "us.acme.test"}
	r.created(one)
	r.reload(w.parseAll(grants + acme + "\nstore: {url: \"sqlite://" + w.path + "\", keys: [{env: KEY}], allowed_hosts: [us.acme.test]}\n"))
	want := []string{"api.acme.test", "us.acme.test"}
	if got := r.served.get("one").AllowedHosts; !slices.Equal(got, want) {
		t.Errorf("the material may be sent to %v, want %v", got, want)
	}
	if got := r.one().AllowedHosts; !slices.Equal(got, want) {
		t.Errorf("the hosts are shown as %v, want %v", got, want)
	}
	made, _ := r.addVersion(management.NewVersion{ETag: r.one().ETag})
	if !slices.Equal(made.AllowedHosts, []string{"us.acme.test"}) {
		t.Errorf("the next version keeps the hosts %v", made.AllowedHosts)
	}
	_, _, err := r.CreateVersion(t.Context(), r.admin(), "one", management.NewVersion{
		ETag: r.one().ETag, AllowedHosts: []string{"eu.acme.test"}, Values: values(map[string]string{"token": "first"}),
	})
	wantReason(t, err, "INVALID_REQUEST")
}

// TestHostsOfTheProvider checks that a credential does not add a host that its provider has for its
// values.
func TestHostsOfTheProvider(t *testing.T) {
	w := newWorld(t)
	r := w.replica(w.parse(grants + strings.Replace(acme, "[api.acme.test]", `["${name}.example.com"]`, 1)))
	one := newAcme("one", "first")
	one.Values = values(map[string]string{"name": "shop", "token": "first"})
	one.AllowedHosts = []string{"shop.example.com", "eu.acme.test"}
	if got, want := r.created(one).AllowedHosts, []string{"shop.example.com", "eu.acme.test"}; !slices.Equal(got, want) {
		t.Errorf("the hosts are %v, want %v", got, want)
	}
	versions, err := r.Versions(t.Context(), r.admin(), "one")
	if err != nil || !slices.Equal(versions[0].AllowedHosts, []string{"eu.acme.test"}) {
		t.Errorf("the version adds the hosts %v; the error is %v", versions[0].AllowedHosts, err)
	}
	_, _, err = r.CreateVersion(t.Context(), r.admin(), "one", management.NewVersion{
		ETag: r.one().ETag, Values: values(map[string]string{"name": "other"}),
	})
	if wantReason(t, err, "INVALID_REQUEST"); !strings.Contains(err.Error(), "must be sent again") {
		t.Errorf("a version with another host keeps the secret: %v", err)
	}
}
