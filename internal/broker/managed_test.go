package broker_test

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
)

// version is a version of a managed credential that counts how often it is decrypted.
type version struct {
	*credentials.Credential
	opened atomic.Int32
}

// key returns version `number` of the managed credential `id`, with a static key.
func key(id string, number int, value string) *version {
	return stored(id, number, "pendo", "api_key", map[string]secret.Text{"api_key": secret.New(value)})
}

// pair returns version `number` of the managed credential `one`, which needs a token.
func pair(number int, client simulator.Client) *version {
	return stored("one", number, "sendpulse", "oauth2_client_credentials", map[string]secret.Text{
		"client_id": secret.New(client.ID), "client_secret": secret.New(client.Secret),
	})
}

func stored(id string, number int, provider, method string, values map[string]secret.Text) *version {
	definition := catalog.Builtin().Provider(provider)
	v := &version{}
	v.Credential = &credentials.Credential{
		ID: id, Provider: definition, Method: definition.AuthMethod(method), AllowedHosts: definition.AllowedHosts,
		Stored: &credentials.Stored{
			Number: number, ID: id + string(rune('0'+number)),
			Open: func() (map[string]secret.Text, error) { v.opened.Add(1); return values, nil },
		},
	}
	return v
}

// withCanary returns a credential that has a canary for callers whose names match the pattern.
func (v *version) withCanary(canary *version, callers access.Pattern) *credentials.Credential {
	c := *v.Credential
	c.Canary = &credentials.Canary{Callers: []access.Pattern{callers}, Credential: canary.Credential}
	return &c
}

func named(name string) broker.Caller { return broker.Caller{Caller: access.Caller{Name: name}} }

// material returns the value of the only header that a caller gets.
func (w *world) material(caller broker.Caller, id string) string {
	w.Helper()
	d, err := w.broker.Get(w.Context(), caller, id)
	if err != nil {
		w.Fatalf("get %s: %v", id, err)
	}
	return d.Material.Headers[0].Value.Reveal()
}

func (w *world) reason(id string) fault.Reason {
	w.Helper()
	_, err := w.broker.Get(w.Context(), nobody, id)
	if err == nil {
		w.Fatalf("get %s succeeded", id)
	}
	return fault.From(err).Reason
}

func TestManagedValuesStayEncryptedUntilTheyAreUsed(t *testing.T) {
	inWorld(t, func(w *world) {
		one := key("one", 1, "first")
		w.broker.Manage([]*credentials.Credential{one.Credential}, nil)
		if n := one.opened.Load(); n != 0 {
			t.Errorf("before the first call, the values were already decrypted %d times", n)
		}
		for range 3 {
			if got := w.material(nobody, "one"); got != "first" {
				t.Errorf("the material is %q, want %q", got, "first")
			}
		}
		w.broker.Manage([]*credentials.Credential{key("other", 1, "x").Credential}, nil)
		renamed := *one.Credential
		renamed.DisplayName = "Another name"
		w.broker.Manage([]*credentials.Credential{&renamed}, nil)
		w.use() // a reload
		if n := one.opened.Load(); n != 1 {
			t.Errorf("the values were decrypted %d times, want once", n)
		}
	})
}

func TestManagedCredentialsChange(t *testing.T) {
	inWorld(t, func(w *world) {
		w.broker.Manage([]*credentials.Credential{key("one", 1, "first").Credential, key("two", 1, "x").Credential}, nil)
		w.broker.Manage([]*credentials.Credential{key("one", 2, "second").Credential}, []string{"two", "never"})
		if got := w.material(nobody, "one"); got != "second" {
			t.Errorf("the material is %q, want that of version 2", got)
		}
		if reason := w.reason("two"); reason != fault.CredentialNotFound {
			t.Errorf("the error for a removed credential has the reason %s", reason)
		}
		disabled := *key("one", 2, "second").Credential
		disabled.Disabled = true
		w.broker.Manage([]*credentials.Credential{&disabled}, nil)
		if reason := w.reason("one"); reason != fault.CredentialNotFound {
			t.Errorf("the error for a disabled credential has the reason %s", reason)
		}
	})
}

func TestDeclaredCredentialHidesManagedOne(t *testing.T) {
	inWorld(t, func(w *world) {
		managed := key("board", 1, "managed").Credential
		w.broker.Manage([]*credentials.Credential{managed}, nil)
		if got := w.material(nobody, "board"); got != "first" {
			t.Errorf("the material is %q, want that of the declared credential", got)
		}
		w.broker.Manage(nil, []string{"board"})
		if got := w.material(nobody, "board"); got != "first" {
			t.Errorf("after the managed credential was removed, the material is %q, want that of the declared one", got)
		}
		if err := w.broker.Use(broker.Load{Config: w.parse(), Managed: []*credentials.Credential{managed}}); err != nil {
			t.Fatal(err)
		}
		if got := w.material(nobody, "board"); got != "managed" {
			t.Errorf("the file no longer declares the credential, but the material is %q", got)
		}
	})
}

func TestIDsBeforeTheStoreIsRead(t *testing.T) {
	managed := func(options *broker.Options) { options.Managed = true }
	inWorld(t, func(w *world) {
		if reason := w.reason("one"); reason != fault.StoreUnavailable {
			t.Errorf("before the store is read, the error has the reason %s", reason)
		}
		if got := w.material(nobody, "board"); got != "first" {
			t.Errorf("the material of the declared credential is %q", got)
		}
		w.use(board("first"))
		if reason := w.reason("one"); reason != fault.StoreUnavailable {
			t.Errorf("after a reload, the error has the reason %s", reason)
		}
		watch := w.broker.Watch(nobody, nil, []string{"one"})
		defer watch.Close()
		if state, err := watch.Next(w.Context()); err != nil || fault.From(state.Err).Reason != fault.StoreUnavailable {
			t.Errorf("the first state of the watch is the error %v, and Next returns the error %v", state.Err, err)
		}
		w.broker.Manage(nil, nil)
		if state, err := watch.Next(w.Context()); err != nil || fault.From(state.Err).Reason != fault.CredentialNotFound {
			t.Errorf("the next state of the watch is the error %v, and Next returns the error %v", state.Err, err)
		}
	}, managed)
}

func TestCanary(t *testing.T) {
	inWorld(t, func(w *world) {
		old, next := w.first, w.sim.SendPulse.AddClient(simulator.Client{})
		one, two := pair(1, old), pair(2, next)
		w.broker.Manage([]*credentials.Credential{one.Credential}, nil)
		before := w.material(named("spiffe://a/web"), "one")
		w.broker.Manage([]*credentials.Credential{one.withCanary(two, "spiffe://a/try*")}, nil)
		synctest.Wait()
		if got := w.material(named("spiffe://a/web"), "one"); got != before {
			t.Error("a caller that is not among the callers of the canary does not get the active version")
		}
		tried := w.material(named("spiffe://a/try-1"), "one")
		if tried == before {
			t.Error("a caller of the canary gets the active version")
		}
		requests := w.sim.SendPulse.TotalTokenRequests()
		w.broker.Manage([]*credentials.Credential{two.Credential}, nil) // the canary becomes the active version
		synctest.Wait()
		if got := w.material(named("spiffe://a/web"), "one"); got != tried {
			t.Error("the active version has another token than the canary had")
		}
		if n := w.sim.SendPulse.TotalTokenRequests(); n != requests {
			t.Errorf("the activation of the canary caused %d token requests", n-requests)
		}
		if n := two.opened.Load(); n != 1 {
			t.Errorf("version 2 was decrypted %d times", n)
		}
	})
}

// TestRotationServesTheOldToken checks that no caller waits for the first token of a new version,
// and that the old token stays in use if the provider refuses the new secret.
func TestRotationServesTheOldToken(t *testing.T) {
	inWorld(t, func(w *world) {
		w.broker.Manage([]*credentials.Credential{pair(1, w.first).Credential}, nil)
		before := w.material(nobody, "one")
		wrong := simulator.Client{ID: w.first.ID, Secret: "wrong"}
		w.broker.Manage([]*credentials.Credential{pair(2, wrong).Credential}, nil)
		synctest.Wait()
		if got := w.material(nobody, "one"); got != before {
			t.Error("the old token is not served while the provider refuses the new secret")
		}
		if n := w.broker.RefusedSecrets(); n != 1 {
			t.Errorf("%d refused secrets are counted", n)
		}
		w.broker.Manage([]*credentials.Credential{pair(1, w.first).Credential}, nil) // roll back
		if got := w.material(nobody, "one"); got != before {
			t.Error("after the roll back, the old token is not served")
		}
		if n := w.broker.RefusedSecrets(); n != 0 {
			t.Errorf("%d refused secrets are counted after the roll back", n)
		}
	})
}

func TestUnreadableValuesAffectOneCredential(t *testing.T) {
	inWorld(t, func(w *world) {
		broken := key("broken", 1, "x")
		broken.Stored.Open = func() (map[string]secret.Text, error) { return nil, errors.New("unknown key") }
		empty := stored("empty", 1, "pendo", "api_key", nil)
		w.broker.Manage([]*credentials.Credential{broken.Credential, empty.Credential, key("one", 1, "first").Credential}, nil)
		for range 3 {
			for _, id := range []string{"broken", "empty"} {
				if reason := w.reason(id); reason != fault.Internal {
					t.Errorf("%s: %s", id, reason)
				}
			}
		}
		if got := w.material(nobody, "one"); got != "first" {
			t.Errorf("the material of the other credential is %q", got)
		}
		if n := w.log.Count("the stored values of a credential cannot be used"); n != 2 {
			t.Errorf("the log has %d lines about unusable values, want one for each credential", n)
		}
	})
}

func TestWatchesSeeManagedChanges(t *testing.T) {
	inWorld(t, func(w *world) {
		w.broker.Manage([]*credentials.Credential{key("one", 1, "first").Credential}, nil)
		watch := w.broker.Watch(nobody, nil, []string{"one", "board"})
		defer watch.Close()
		var seen []string
		next := func() {
			state, err := watch.Next(w.Context())
			if err != nil || state.Err != nil {
				t.Fatal(err, state.Err)
			}
			seen = append(seen, state.CredentialID+" "+state.Decoration.Material.Headers[0].Value.Reveal())
		}
		next()
		next()
		w.broker.Manage([]*credentials.Credential{key("one", 2, "second").Credential}, nil)
		next()
		if want := []string{"one first", "board first", "one second"}; !slices.Equal(seen, want) {
			t.Errorf("the watch sends %q, want %q", seen, want)
		}
	})
}

// TestGrantsByProviderBeforeTheStoreIsRead checks that a caller whose grant names a provider is not
// denied while the provider of a credential is still unknown.
func TestGrantsByProviderBeforeTheStoreIsRead(t *testing.T) {
	managed := func(options *broker.Options) { options.Managed = true }
	inWorld(t, func(w *world) {
		policy := access.NewPolicy(access.Grant{
			Callers: []access.Pattern{"token:web"}, Providers: []string{"pendo"}, Actions: []access.Action{access.Use},
		})
		if err := w.broker.Use(load(w.parse(mail(w.first)).Credentials, policy)); err != nil {
			t.Fatal(err)
		}
		reason := func(caller, id string) fault.Reason {
			_, err := w.broker.Get(w.Context(), named(caller), id)
			return fault.From(err).Reason
		}
		for name, want := range map[string]fault.Reason{"token:web": fault.StoreUnavailable, "token:other": fault.AccessDenied} {
			if got := reason(name, "one"); got != want {
				t.Errorf("before the store is read, %s gets the error %s, want %s", name, got, want)
			}
		}
		if got := reason("token:web", "mail"); got != fault.AccessDenied {
			t.Errorf("the error for a declared credential of another provider is %s", got)
		}
		w.broker.Manage([]*credentials.Credential{key("one", 1, "first").Credential}, nil)
		if got := w.material(named("token:web"), "one"); got != "first" {
			t.Errorf("the material is %q, want %q", got, "first")
		}
		if got := reason("token:web", "none"); got != fault.AccessDenied {
			t.Errorf("the error for a missing credential is %s", got)
		}
	}, managed)
}
