package server_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/testing/postgrestest"
)

// managing is a server with a credential store.
type managing struct {
	harness
	credentials authmaterialv1.CredentialServiceClient
}

// serveManaging starts a server with a credential store. The parameter `store` is the section
// 'store' of the configuration, without the keys.
func serveManaging(t *testing.T, store string, change ...func(*server.Options)) managing {
	t.Helper()
	return serveGranting(t, []string{"admin", "viewer", "web", "web-canary"}, `
  - {callers: ["token:admin"], credentials: ["*"], actions: [use, manage, operate]}
  - {callers: ["token:viewer"], credentials: ["*"], actions: [view]}
  - {callers: ["token:web*"], credentials: ["*"]}
`, store, change...)
}

// serveGranting starts a server whose callers have static tokens and the given grants. The
// parameter `store` is the section 'store' of the configuration, without the keys.
func serveGranting(t *testing.T, callers []string, grants, store string, change ...func(*server.Options)) managing {
	t.Helper()
	return serveStored(t, grantingText(callers, grants, store), fleetkeys.Generate(), change...)
}

func grantingText(callers []string, grants, store string) string {
	text := configuration + "authentication:\n  tokens:\n"
	for _, name := range callers {
		text += fmt.Sprintf("    - {name: %s, sha256: %q}\n", name, hashOf(name))
	}
	return text + "grants:" + grants + "\nstore:\n  keys: [{env: STORE_KEY}]\n" + store
}

// serveStored starts a server with the given configuration and store key.
func serveStored(t *testing.T, text, key string, change ...func(*server.Options)) managing {
	t.Helper()
	h := serve(t, append([]func(*server.Options){func(o *server.Options) { o.Config = parseStored(t, text, key) }}, change...)...)
	return managing{h, authmaterialv1.NewCredentialServiceClient(h.conn)}
}

// parseStored parses a configuration with the given store key.
func parseStored(t *testing.T, text, key string) *config.Config {
	t.Helper()
	loaded, err := config.Parse("broker.yaml", []byte(text), config.Options{LookupEnv: func(name string) (string, bool) {
		known := map[string]string{"STORE_KEY": key, "POSTGRES_USER": postgrestest.User}
		return cmp.Or(known[name], postgrestest.Password), true
	}})
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// tokenOf returns the static token of a caller.
func tokenOf(name string) string {
	return authentication.TokenPrefix + strings.Repeat(name+"-", 43)[:43]
}

func hashOf(name string) string {
	sum := sha256.Sum256([]byte(tokenOf(name)))
	return hex.EncodeToString(sum[:])
}

// `as` returns a context for the calls of a caller.
func (m managing) as(name string) context.Context {
	return metadata.AppendToOutgoingContext(m.Context(), "authorization", "Bearer "+tokenOf(name))
}

// material returns the values of the headers and parameters that a caller gets.
func (m managing) material(caller, id string) ([]string, error) {
	answer, err := m.client().GetAuthDecoration(m.as(caller), &authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
	var values []string
	for _, header := range answer.GetAuthDecoration().GetHeaders() {
		values = append(values, header.GetValue())
	}
	for _, parameter := range answer.GetAuthDecoration().GetQueryParams() {
		values = append(values, parameter.GetValue())
	}
	return values, err
}

func (m managing) mustMaterial(caller, id string) []string {
	m.Helper()
	values, err := m.material(caller, id)
	if err != nil {
		m.Fatalf("%s gets no material of %s: %v", caller, id, err)
	}
	return values
}

// account is an account at a simulated provider, with its values and a second set of values that
// the provider accepts too.
type account struct {
	provider, method string
	values, next     map[string]string
	wrong            string // the secret field that is changed to make the values wrong
	verified         authmaterialv1.VerificationOutcome
}

func accounts(sim *simulator.Simulator) map[string]account {
	const accepted, inconclusive = authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_ACCEPTED, authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_INCONCLUSIVE
	pair := func(c simulator.Client) map[string]string {
		return map[string]string{"client_id": c.ID, "client_secret": c.Secret}
	}
	return map[string]account{
		"sendpulse pair": {"sendpulse", "oauth2_client_credentials", pair(sim.SendPulse.Client()), pair(sim.SendPulse.AddClient(simulator.Client{})), "client_secret", accepted},
		"sendpulse key":  {"sendpulse", "api_key", map[string]string{"api_key": sim.SendPulse.APIKey()}, map[string]string{"api_key": sim.SendPulse.AddAPIKey()}, "api_key", accepted},
		"pulsedive":      {"pulsedive", "api_key", map[string]string{"api_key": sim.Pulsedive.Key()}, map[string]string{"api_key": sim.Pulsedive.AddKey()}, "api_key", inconclusive},
		"pendo":          {"pendo", "api_key", map[string]string{"api_key": sim.Pendo.Key()}, map[string]string{"api_key": sim.Pendo.AddKey("app.eu.pendo.io")}, "api_key", accepted},
		"spotdraft":      {"spotdraft", "client_headers", pair(sim.SpotDraft.Client()), pair(sim.SpotDraft.AddClient()), "client_secret", accepted},
	}
}

func fieldValues(values map[string]string) []*authmaterialv1.FieldValue {
	var all []*authmaterialv1.FieldValue
	for field, value := range values {
		all = append(all, &authmaterialv1.FieldValue{Field: field, Value: value})
	}
	return all
}

// stores returns functions that create a database, and return its settings for serveManaging.
func stores(t *testing.T) map[string]func(t *testing.T) string {
	postgres := postgrestest.Start(t)
	return map[string]func(t *testing.T) string{
		"sqlite": func(t *testing.T) string { return "  url: sqlite://" + filepath.Join(t.TempDir(), "broker.db") + "\n" },
		"postgresql": func(t *testing.T) string {
			return "  url: " + postgres.Database(t) + "\n  user: {env: POSTGRES_USER}\n  password: {env: POSTGRES_PASSWORD}\n"
		},
	}
}

// TestLifeOfAManagedCredential leads a credential of each auth method through its life.
func TestLifeOfAManagedCredential(t *testing.T) {
	for kind, settings := range stores(t) {
		t.Run(kind, func(t *testing.T) {
			m := serveManaging(t, settings(t))
			for name, a := range accounts(m.sim) {
				m.life(name, a)
			}
		})
	}
}

func (m managing) life(name string, a account) {
	m.Helper()
	admin := m.as("admin")
	created, err := m.credentials.CreateCredential(admin, &authmaterialv1.CreateCredentialRequest{
		Credential: &authmaterialv1.Credential{DisplayName: name, Provider: a.provider, AuthMethod: a.method},
		Values:     fieldValues(a.values),
	})
	if err != nil {
		m.Fatalf("%s: create: %v", name, err)
	}
	id, credential := created.GetCredential().GetCredentialId(), created.GetCredential()
	if id != strings.ReplaceAll(name, " ", "-") || credential.GetActiveVersion() != 1 {
		m.Errorf("%s: the ID is %q, the active version %d", name, id, credential.GetActiveVersion())
	}
	verified, err := m.credentials.VerifyCredential(admin, &authmaterialv1.VerifyCredentialRequest{CredentialId: id})
	if err != nil || verified.GetVerification().GetOutcome() != a.verified {
		m.Errorf("%s: the verification has the outcome %v and the error %v", name, verified.GetVerification().GetOutcome(), err)
	}
	first := m.mustMaterial("web", id)

	wrong := map[string]string{a.wrong: "wrong-" + name}
	rotated := m.rotate(credential, wrong, false)
	if rotated.GetCredential().GetActiveVersion() != 1 || rotated.GetVersion().GetVersion() != 2 {
		m.Errorf("%s: after a wrong secret, version %d is active", name, rotated.GetCredential().GetActiveVersion())
	}
	if got := m.mustMaterial("web", id); !slices.Equal(got, first) {
		m.Errorf("%s: after a wrong secret, other material is served", name)
	}
	acceptInconclusive := a.verified != authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_ACCEPTED
	rotated = m.rotate(rotated.GetCredential(), a.next, acceptInconclusive)
	if rotated.GetCredential().GetActiveVersion() != 3 {
		m.Errorf("%s: after a correct secret, version %d is active: %v", name, rotated.GetCredential().GetActiveVersion(), rotated.GetVersion().GetVerification().GetOutcome())
	}
	usesToken := a.method == "oauth2_client_credentials"
	if usesToken {
		// The old token stays in use until the provider has issued a token for version 3.
		m.eventually("the token of version 3 is served", func() bool { return !slices.Equal(m.mustMaterial("web", id), first) })
	}
	third := m.mustMaterial("web", id)

	canary, err := m.credentials.ActivateCredentialVersion(admin, &authmaterialv1.ActivateCredentialVersionRequest{
		CredentialId: id, Version: 2, Etag: rotated.GetCredential().GetEtag(), Callers: []string{"token:web-*"},
	})
	if err != nil || canary.GetCredential().GetCanary().GetVersion() != 2 {
		m.Fatalf("%s: canary: %v", name, err)
	}
	if got := m.mustMaterial("web", id); !slices.Equal(got, third) {
		m.Errorf("%s: a caller that the canary does not name gets other material", name)
	}
	// The provider refuses the token request of version 2, so the token of version 3 stays in use.
	if got := m.mustMaterial("web-canary", id); slices.Equal(got, third) != usesToken {
		m.Errorf("%s: a caller that the canary names gets the material of the active version: %v", name, !usesToken)
	}
	withdrawn, err := m.credentials.WithdrawCanary(admin, &authmaterialv1.WithdrawCanaryRequest{CredentialId: id, Etag: canary.GetCredential().GetEtag()})
	if err != nil {
		m.Fatalf("%s: withdraw: %v", name, err)
	}
	back, err := m.credentials.ActivateCredentialVersion(admin, &authmaterialv1.ActivateCredentialVersionRequest{
		CredentialId: id, Version: 1, Etag: withdrawn.GetCredential().GetEtag(),
	})
	if err != nil {
		m.Fatalf("%s: the rollback fails: %v", name, err)
	}
	if (back.GetWarning() != "") != usesToken { // SendPulse revokes the previous pair
		m.Errorf("%s: the warning of the rollback is %q", name, back.GetWarning())
	}
	if got := m.mustMaterial("web", id); !slices.Equal(got, first) {
		m.Errorf("%s: after the rollback, other material is served", name)
	}
	m.end(name, back.GetCredential())
}

// `end` tests the rest of a credential's life: it disables, enables, deletes and restores the
// credential, and destroys one of its versions.
func (m managing) end(name string, credential *authmaterialv1.Credential) {
	m.Helper()
	admin, id := m.as("admin"), credential.GetCredentialId()
	for _, disabled := range []bool{true, false} {
		updated, err := m.credentials.UpdateCredential(admin, &authmaterialv1.UpdateCredentialRequest{
			Credential: &authmaterialv1.Credential{CredentialId: id, Disabled: disabled},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"disabled"}}, Etag: credential.GetEtag(),
		})
		if err != nil {
			m.Fatalf("%s: setting `disabled` to %v fails: %v", name, disabled, err)
		}
		credential = updated.GetCredential()
		if _, err := m.material("web", id); (status.Code(err) == codes.NotFound) != disabled {
			m.Errorf("%s: with `disabled` set to %v, a call ends with %v", name, disabled, err)
		}
	}
	deleted, err := m.credentials.DeleteCredential(admin, &authmaterialv1.DeleteCredentialRequest{CredentialId: id, Etag: credential.GetEtag()})
	if err != nil || deleted.GetCredential().GetDeleteTime() == nil {
		m.Fatalf("%s: delete: %v", name, err)
	}
	if _, err := m.material("web", id); status.Code(err) != codes.NotFound {
		m.Errorf("%s: deleted: %v", name, err)
	}
	restored, err := m.credentials.UndeleteCredential(admin, &authmaterialv1.UndeleteCredentialRequest{CredentialId: id})
	if err != nil {
		m.Fatalf("%s: restore: %v", name, err)
	}
	m.mustMaterial("web", id)
	destroyed, err := m.credentials.DestroyCredentialVersion(admin, &authmaterialv1.DestroyCredentialVersionRequest{
		CredentialId: id, Version: 2, Etag: restored.GetCredential().GetEtag(),
	})
	if err != nil || destroyed.GetVersion().GetState() != authmaterialv1.VersionState_VERSION_STATE_DESTROYED {
		m.Fatalf("%s: destroy: %v", name, err)
	}
	_, err = m.credentials.ActivateCredentialVersion(admin, &authmaterialv1.ActivateCredentialVersionRequest{
		CredentialId: id, Version: 2, Etag: destroyed.GetCredential().GetEtag(),
	})
	if reasonOf(status.Convert(err)) != "VERSION_NOT_FOUND" {
		m.Errorf("%s: activating a destroyed version ends with %v", name, err)
	}
	events, err := m.credentials.ListCredentialEvents(m.as("viewer"), &authmaterialv1.ListCredentialEventsRequest{CredentialId: id})
	if err != nil {
		m.Fatalf("%s: events: %v", name, err)
	}
	var operations []string
	for _, event := range slices.Backward(events.GetEvents()) {
		operations = append(operations, event.GetOperation())
	}
	want := []string{
		"create_credential", "verify_credential", "create_version", "create_version", "activate_version", "withdraw_canary", "activate_version",
		"update_credential", "update_credential", "delete_credential", "undelete_credential", "destroy_version",
	}
	if !slices.Equal(operations, want) {
		m.Errorf("%s: the events are %v, want %v", name, operations, want)
	}
}

// rotate adds a version, verifies it, and activates it if the provider accepts it.
func (m managing) rotate(credential *authmaterialv1.Credential, values map[string]string, inconclusive bool) *authmaterialv1.CreateCredentialVersionResponse {
	m.Helper()
	rotated, err := m.credentials.CreateCredentialVersion(m.as("admin"), &authmaterialv1.CreateCredentialVersionRequest{
		CredentialId: credential.GetCredentialId(), Etag: credential.GetEtag(), Values: fieldValues(values),
		Verify: true, Activate: true, AcceptInconclusive: inconclusive,
	})
	if err != nil {
		m.Fatalf("rotate %s: %v", credential.GetCredentialId(), err)
	}
	return rotated
}
