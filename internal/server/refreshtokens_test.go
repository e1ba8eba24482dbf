package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/server"
)

// rotator is a provider that accepts each refresh token once. A refresh token consists of a name and a
// number, which begins with 1.
type rotator struct {
	*httptest.Server

	mu   sync.Mutex
	last map[string]int // the number of the last refresh token, by name
	used []string
}

func startRotator(t *testing.T) *rotator {
	r := &rotator{last: map[string]int{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *rotator) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	used := request.PostFormValue("refresh_token")
	r.used = append(r.used, used)
	name, number, _ := strings.Cut(used, "-canary-")
	last := max(r.last[name], 1)
	if number != fmt.Sprint(last) || request.PostFormValue("client_secret") == "" {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprint(w, `{"error":"invalid_grant"}`)
		return
	}
	r.last[name] = last + 1
	_, _ = fmt.Fprintf(w, `{"access_token":"access-%s-%d","refresh_token":"%[1]s-canary-%[3]d","expires_in":3600}`, name, last, last+1)
}

func (r *rotator) takeUsed() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	used := strings.Join(r.used, " ")
	r.used = nil
	return used
}

func (r *rotator) configuration(store string) string {
	return grantingText([]string{"admin", "web"}, `
  - {callers: ["token:admin"], credentials: ["*"], actions: [use, manage, operate]}
  - {callers: ["token:web"], credentials: ["*"]}
`, store) + fmt.Sprintf(`
providers:
  - id: rotator
    display_name: Rotator
    allowed_hosts: [%q]
    auth_methods:
      - id: m
        display_name: M
        fields:
          - {id: client_id, display_name: I, required: true, secret: false}
          - {id: client_secret, display_name: S, required: true, secret: true}
          - {id: refresh_token, display_name: R, required: true, secret: true}
        token_request:
          url: %s/token
          body: FORM
          client_authentication: REQUEST_BODY
          grant_type: refresh_token
          parameters: {refresh_token: "${refresh_token}"}
          allow_private_addresses: true
          response: {refresh_token: refresh_token}
        headers: [{name: Authorization, value: "Bearer ${token}"}]
        verification: {path: /me, allow_private_addresses: true, answers: [{statuses: [200], outcome: ACCEPTED}]}
`, strings.TrimPrefix(r.URL, "http://"), r.URL)
}

func (r *rotator) withDeclared(text string) string {
	return strings.Replace(text, "credentials:\n", `credentials:
  - id: declared
    provider: rotator
    auth_method: m
    values: {client_id: {value: id}, client_secret: {value: secret}, refresh_token: {value: declared-canary-1}}
`, 1)
}

// TestRotatingRefreshTokens serves declared and managed credentials, and restarts the server.
func TestRotatingRefreshTokens(t *testing.T) {
	for kind, settings := range stores(t) {
		t.Run(kind, func(t *testing.T) {
			provider, key := startRotator(t), fleetkeys.Generate()
			text := provider.withDeclared(provider.configuration(settings(t)))
			start := func() managing {
				return serveStored(t, text, key, func(o *server.Options) { o.TokenTransport = nil })
			}
			m := start()
			_, err := m.credentials.CreateCredential(m.as("admin"), m.creation("managed"))
			if err != nil {
				t.Fatal(err)
			}
			check := func(id, value, used string) {
				t.Helper()
				if got, used2 := m.mustMaterial("web", id), provider.takeUsed(); !slices.Equal(got, []string{value}) || used2 != used {
					t.Errorf("the provider got the refresh tokens %q, want %q; the material is right: %v", used2, used, slices.Equal(got, []string{value}))
				}
			}
			check("declared", "Bearer access-declared-1", "declared-canary-1")
			check("managed", "Bearer access-managed-1", "managed-canary-1")
			m.server.Stop(t.Context())
			m = start()
			check("declared", "Bearer access-declared-2", "declared-canary-2")
			check("managed", "Bearer access-managed-2", "managed-canary-2")
			m.changeSecret()
			m.eventually("the new client secret is used", func() bool {
				return slices.Equal(m.mustMaterial("web", "managed"), []string{"Bearer access-managed-3"})
			})
			check("managed", "Bearer access-managed-3", "managed-canary-3")
			m.verifyRotating(provider)
			provider.last["managed"] = 9
			m.server.Stop(t.Context())
			m = start()
			_, err = m.material("web", "managed")
			m.wantError(err, codes.FailedPrecondition, "CREDENTIAL_REJECTED",
				"Rotator refused the credential (HTTP 400, invalid_grant): obtain a new refresh token and rotate the credential")
			for _, text := range []string{err.Error(), m.log.String()} {
				if strings.Contains(text, "canary") {
					t.Errorf("an error or the log contains a refresh token: %s", text)
				}
			}
		})
	}
}

func (m managing) creation(id string) *authmaterialv1.CreateCredentialRequest {
	return &authmaterialv1.CreateCredentialRequest{
		CredentialId: id,
		Credential:   &authmaterialv1.Credential{DisplayName: id, Provider: "rotator", AuthMethod: "m"},
		Values:       fieldValues(map[string]string{"client_id": "id", "client_secret": "secret", "refresh_token": id + "-canary-1"}),
	}
}

// changeSecret changes another value than the refresh token.
func (m managing) changeSecret() {
	m.Helper()
	_, err := m.credentials.CreateCredentialVersion(m.as("admin"), &authmaterialv1.CreateCredentialVersionRequest{
		CredentialId: "managed", Etag: m.mustGet("admin", "managed").GetEtag(), Activate: true,
		Values: fieldValues(map[string]string{"client_secret": "changed"}),
	})
	if err != nil {
		m.Fatal(err)
	}
}

// verifyRotating checks that a verification loses no refresh token.
func (m managing) verifyRotating(provider *rotator) {
	m.Helper()
	create := m.creation("managed")
	_, err := m.credentials.VerifyCredential(m.as("admin"), &authmaterialv1.VerifyCredentialRequest{
		CredentialId: "managed", Provider: "rotator", AuthMethod: "m", Values: create.GetValues(),
	})
	m.wantError(err, codes.FailedPrecondition, "VERIFICATION_UNSUPPORTED", "the provider replaces the refresh token when it is used, "+
		"so values that are not stored cannot be tried: create the credential or the version, and then verify it")
	if used := provider.takeUsed(); used != "" {
		m.Errorf("a refused verification used the refresh tokens %q", used)
	}
	for _, want := range []string{"managed-canary-4", "managed-canary-5"} {
		_, err := m.credentials.VerifyCredential(m.as("admin"), &authmaterialv1.VerifyCredentialRequest{CredentialId: "managed"})
		if used := provider.takeUsed(); err != nil || used != want {
			m.Errorf("the verification used the refresh tokens %q, want %q, and returned the error %v", used, want, err)
		}
	}
}
