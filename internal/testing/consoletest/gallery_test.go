package consoletest_test

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// galleryConfig has a declared credential, providers with long texts and with unusual fields, and a
// caller who may only view.
func galleryConfig() string {
	return fmt.Sprintf(`authentication: {peer_user: true, tokens: [{name: viewer, sha256: %q}]}
grants:
- {callers: ["uid:%d"], credentials: ["*"], actions: [use, manage, operate]}
- {callers: ["token:viewer"], credentials: ["*"], actions: [view]}
providers:
- id: warehouse
  display_name: %s
  description: Parcels, pallets and everything else that is sent from the warehouse in Rotterdam to customers.
  allowed_hosts: [api.example.test]
  auth_methods:
  - id: key_and_account
    display_name: Key and account number
    fields:
    - {id: account, display_name: Account number, description: "Eight digits, at the top of each invoice.", required: true, secret: false}
    - {id: key, display_name: Key, required: true, secret: true}
    headers: [{name: x-account, value: "${account}"}, {name: x-key, value: "${key}"}]
%scredentials:
- id: pendo-declared
  display_name: Pendo, from the configuration file
  provider: pendo
  auth_method: api_key
  values: {api_key: {env: PENDO_KEY}}
`, hashOf("viewer"), os.Geteuid(), `"Rotterdam warehouse and `+strings.Repeat("forwarding", 6)+`"`, robotProvider)
}

// gallery returns a scene with a credential in each state, one of them with a history.
func gallery(t *testing.T) *scene {
	t.Helper()
	s := serve(t, galleryConfig())
	client, key := s.simulator.SendPulse.Client(), s.simulator.Pendo.Key()
	production := s.create("sendpulse-production", "SendPulse production", "Newsletters and receipts of the web shop.",
		"sendpulse", "oauth2_client_credentials", map[string]string{"client_id": client.ID, "client_secret": client.Secret})
	s.edit(production, func(c *authmaterialv1.Credential) {
		c.Labels, c.SecretExpireTime = map[string]string{"team": "growth", "stage": "production"}, timestamppb.New(time.Now().Add(40*24*time.Hour))
	})
	for _, secret := range []string{"the-secret-of-last-year", "a-secret-that-the-provider-refuses"} {
		s.version(production, &authmaterialv1.CreateCredentialVersionRequest{Values: []*authmaterialv1.FieldValue{{Field: "client_secret", Value: secret}}})
	}
	must(t)(s.api().VerifyCredential(t.Context(), &authmaterialv1.VerifyCredentialRequest{CredentialId: production, Version: 3}))
	must(t)(s.api().DestroyCredentialVersion(t.Context(), &authmaterialv1.DestroyCredentialVersionRequest{CredentialId: production, Version: 2, Etag: s.etag(production)}))
	next := client
	s.version(production, &authmaterialv1.CreateCredentialVersionRequest{Verify: true, Activate: true, Values: []*authmaterialv1.FieldValue{{Field: "client_secret", Value: next.Secret}}})
	must(t)(s.api().ActivateCredentialVersion(t.Context(), &authmaterialv1.ActivateCredentialVersionRequest{
		CredentialId: production, Version: 1, Etag: s.etag(production), Callers: []string{"spiffe://example.org/ns/shop/mailer*", "uid:4711"},
	}))
	s.create("pendo-europe", "Pendo, Europe", "", "pendo", "api_key", map[string]string{"api_key": key})
	s.create("pulsedive", "Pulsedive", "Enriches the alerts of the security team with reputation, passive DNS and whatever else is known about an address, so that nobody has to look it up by hand.",
		"pulsedive", "api_key", map[string]string{"api_key": s.simulator.Pulsedive.Key()})
	s.create("sendpulse-marketing", "SendPulse marketing", "Its secret was replaced at the provider.",
		"sendpulse", "oauth2_client_credentials", map[string]string{"client_id": client.ID, "client_secret": "an-old-secret"})
	s.create("warehouse", "Rotterdam warehouse, "+strings.Repeat("Verwaltungsbezirk", 5), strings.Repeat("long", 60), "warehouse", "key_and_account", map[string]string{"account": "12345678", "key": "k"})
	s.create("robot", "Robot", "", "robot", "key", map[string]string{"client_id": "id", "client_secret": "secret", "private_key": robotKey})
	s.version("robot", &authmaterialv1.CreateCredentialVersionRequest{})
	s.create("contracts", "SpotDraft contracts", "", "spotdraft", "client_headers", map[string]string{"client_id": "id", "client_secret": "secret"})
	s.edit("contracts", func(c *authmaterialv1.Credential) { c.Disabled = true })
	s.create("trial", "Pendo trial", "", "pendo", "api_key", map[string]string{"api_key": "ended"})
	must(t)(s.api().DeleteCredential(t.Context(), &authmaterialv1.DeleteCredentialRequest{CredentialId: "trial", Etag: s.etag("trial")}))
	for _, id := range []string{production, production, "pendo-europe", "pendo-declared", "sendpulse-marketing"} {
		if _, err := s.decoration(id); (err == nil) != (id != "sendpulse-marketing") {
			t.Fatal(id, err)
		}
	}
	must(t)(authmaterialv1.NewBrokerServiceClient(s.conn).ReportUsage(t.Context(), &authmaterialv1.ReportUsageRequest{
		Uses: []*authmaterialv1.VersionUse{{CredentialId: production, Version: "teahbd6jeC4Oz2MZaApJnw"}},
	}))
	return s
}

// must returns a function that ends the test if a call has failed.
func must(t testing.TB) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (s *scene) api() authmaterialv1.CredentialServiceClient {
	return authmaterialv1.NewCredentialServiceClient(s.conn)
}

func (s *scene) get(id string) *authmaterialv1.Credential {
	s.Helper()
	found, err := s.api().GetCredential(s.Context(), &authmaterialv1.GetCredentialRequest{CredentialId: id})
	must(s)(found, err)
	return found.GetCredential()
}

func (s *scene) etag(id string) string {
	s.Helper()
	return s.get(id).GetEtag()
}

// create creates a credential, and returns its ID.
func (s *scene) create(id, name, description, provider, method string, values map[string]string) string {
	s.Helper()
	request := &authmaterialv1.CreateCredentialRequest{CredentialId: id, Credential: &authmaterialv1.Credential{
		DisplayName: name, Description: description, Provider: provider, AuthMethod: method,
	}}
	for field, value := range values {
		request.Values = append(request.Values, &authmaterialv1.FieldValue{Field: field, Value: value})
	}
	must(s)(s.api().CreateCredential(s.Context(), request))
	return id
}

func (s *scene) edit(id string, change func(*authmaterialv1.Credential)) {
	s.Helper()
	credential := s.get(id)
	change(credential)
	must(s)(s.api().UpdateCredential(s.Context(), &authmaterialv1.UpdateCredentialRequest{
		Credential: credential, Etag: credential.GetEtag(),
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"description", "labels", "disabled", "secret_expire_time"}},
	}))
}

// version adds a version to a credential.
func (s *scene) version(id string, request *authmaterialv1.CreateCredentialVersionRequest) {
	s.Helper()
	request.CredentialId, request.Etag = id, cmp.Or(request.GetEtag(), s.etag(id))
	must(s)(s.api().CreateCredentialVersion(s.Context(), request))
}
