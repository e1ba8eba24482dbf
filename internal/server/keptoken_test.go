package server_test

import (
	"slices"
	"testing"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// TestTokenOfAVerification checks that the token which a verification obtains is served after the
// activation, without a second token request.
func TestTokenOfAVerification(t *testing.T) {
	m := serveManaging(t, "  url: sqlite://"+t.TempDir()+"/broker.db\n")
	a := accounts(m.sim)["sendpulse pair"]
	created, err := m.credentials.CreateCredential(m.as("admin"), &authmaterialv1.CreateCredentialRequest{
		Credential: &authmaterialv1.Credential{DisplayName: "mail", Provider: a.provider, AuthMethod: a.method},
		Values:     fieldValues(a.values),
	})
	if err != nil {
		t.Fatal(err)
	}
	before, requests := m.mustMaterial("web", "mail"), m.sim.SendPulse.TotalTokenRequests()
	m.rotate(created.GetCredential(), a.next, false)
	if got := m.mustMaterial("web", "mail"); slices.Equal(got, before) {
		t.Error("after the activation, the old token is served")
	}
	if n := m.sim.SendPulse.TotalTokenRequests() - requests; n != 1 {
		t.Errorf("the verification and the activation made %d token requests", n)
	}
}
