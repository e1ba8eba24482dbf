package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// The attacker tries to add hosts to which other callers would then send the secret.
func TestAttackByHosts(t *testing.T) {
	a := newAttack(t)
	own := map[string]string{"api_key": "key-of-the-attacker"}
	for _, host := range []string{foreign, "APP.PENDO.IO", "app.pendo.io.", "app.pendo.io:444", "*", partner + ".evil.test", partner + ":8443", "127.0.0.1"} {
		a.refused(host, "INVALID_REQUEST", "allowed_hosts[0]", "CreateCredentialVersion", a.addVersion(victim, []string{host}, own))
	}
	for name, verify := range map[string]bool{"store": false, "verify": true} {
		request := a.addVersion(victim, []string{partner}, nil)
		request.Verify = verify
		a.refused(name+" with the old secret", "INVALID_REQUEST", "values.api_key", "CreateCredentialVersion", request)
	}
	a.refused("an empty secret", "INVALID_REQUEST", "values.api_key", "CreateCredentialVersion", a.addVersion(victim, []string{partner}, map[string]string{"api_key": ""}))
	a.refused("reset without a secret", "INVALID_REQUEST", "values", "CreateCredentialVersion", &authmaterialv1.CreateCredentialVersionRequest{
		CredentialId: victim, Reset_: true, AllowedHosts: []string{partner}, Activate: true, Verify: true,
	})
	a.refused("one of two fields", "INVALID_REQUEST", "values.client_secret", "CreateCredentialVersion",
		a.addVersion(paired, []string{partner}, map[string]string{"client_id": "id-of-the-attacker"}))
	a.failed()

	// The attacker may create a version with the attacker's own secret and host. No other version
	// gets this host.
	if _, reason := a.call("CreateCredentialVersion", a.addVersion(victim, []string{partner}, own)); reason != "" {
		t.Fatalf("a version with all secrets is refused: %s", reason)
	}
	answer, err := a.client().GetAuthDecoration(a.as("web"), &authmaterialv1.GetAuthDecorationRequest{CredentialId: victim})
	if err != nil || !slices.Contains(answer.GetAuthDecoration().GetAllowedHosts(), partner) || strings.Contains(textOf(answer), a.secrets[0]) {
		t.Errorf("after the attacker's new version, the hosts are %v, and the error is %v", answer.GetAuthDecoration().GetAllowedHosts(), err)
	}
	if _, reason := a.call("ActivateCredentialVersion", a.activate(victim, 1)); reason != "" {
		t.Fatalf("roll back: %s", reason)
	}
	a.refused("hosts of an older version", "INVALID_REQUEST", "values.api_key", "CreateCredentialVersion", a.addVersion(victim, []string{partner}, nil))
	a.failed()
}

// While a new secret has no token, other callers get the token of the old secret, but never for a
// host that only the new version has.
func TestAttackByATokenOfTheOldSecret(t *testing.T) {
	a := newAttack(t)
	request := a.addVersion(paired, []string{partner}, map[string]string{"client_id": "id-of-the-attacker", "client_secret": "secret-of-the-attacker"})
	if _, reason := a.call("CreateCredentialVersion", request); reason != "" {
		t.Fatalf("a version with all secrets is refused: %s", reason)
	}
	a.failed() // the provider refuses the new secret, so others get the old token
	if _, reason := a.call("ActivateCredentialVersion", a.activate(paired, 1)); reason != "" {
		t.Fatal(reason)
	}
	if _, reason := a.call("ActivateCredentialVersion", a.activate(paired, 2, "token:attacker", "token:web")); reason != "" {
		t.Fatal(reason)
	}
	a.failed() // the new version is a canary
}

// The attacker tries to change what a secret is used for.
func TestAttackByOtherFields(t *testing.T) {
	a := newAttack(t)
	for _, field := range []string{"allowed_hosts", "provider", "auth_method", "values", "public_values", "active_version", "canary", "credential_id", "*", "origin"} {
		a.refused(field, "INVALID_REQUEST", "update_mask", "UpdateCredential", &authmaterialv1.UpdateCredentialRequest{
			Etag: a.etag(victim), UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{field}},
			Credential: &authmaterialv1.Credential{CredentialId: victim, DisplayName: "v", Provider: "pulsedive", AuthMethod: "api_key", AllowedHosts: []string{partner}},
		})
	}
	again := &authmaterialv1.CreateCredentialRequest{
		CredentialId: victim, Values: fieldValues(map[string]string{"api_key": "k"}),
		Credential: &authmaterialv1.Credential{DisplayName: "v", Provider: "pulsedive", AuthMethod: "api_key"},
	}
	a.refused("create it again", "CREDENTIAL_EXISTS", "", "CreateCredential", again)
	if _, reason := a.call("DeleteCredential", &authmaterialv1.DeleteCredentialRequest{CredentialId: victim, Etag: a.etag(victim)}); reason != "" {
		t.Fatal(reason)
	}
	a.refused("create it again after deletion", "CREDENTIAL_EXISTS", "", "CreateCredential", again)
	if _, reason := a.call("UndeleteCredential", &authmaterialv1.UndeleteCredentialRequest{CredentialId: victim}); reason != "" {
		t.Fatal(reason)
	}
	a.failed()
}

// The attacker tries to make the broker verify at other hosts, or to learn more than the outcome of
// a verification.
func TestAttackByVerification(t *testing.T) {
	a := newAttack(t)
	values := func(id string, hosts []string, values map[string]string) *authmaterialv1.VerifyCredentialRequest {
		return &authmaterialv1.VerifyCredentialRequest{CredentialId: id, Provider: "pendo", AuthMethod: "api_key", Values: fieldValues(values), AllowedHosts: hosts}
	}
	guess := map[string]string{"api_key": "guess"}
	a.refused("another host", "INVALID_REQUEST", "allowed_hosts[0]", "VerifyCredential", values(victim, []string{foreign}, guess))
	a.refused("a host in the network of the broker", "INVALID_REQUEST", "allowed_hosts[0]", "VerifyCredential", values(victim, []string{"10.0.0.1:6379"}, guess))
	a.refused("the stored secret", "INVALID_REQUEST", "values", "VerifyCredential", values(victim, []string{partner}, nil))
	stored := values(victim, []string{partner}, guess)
	stored.Version = 1
	a.refused("a stored version with values", "INVALID_REQUEST", "version", "VerifyCredential", stored)
	for n := range 5 {
		if _, reason := a.call("VerifyCredential", values(victim, nil, map[string]string{"api_key": fmt.Sprint("guess-", n)})); reason != "" {
			t.Errorf("guess %d: %s", n, reason)
		}
	}
	a.refused("many guesses", "RATE_LIMITED", "5 times a minute", "VerifyCredential", values(victim, nil, guess))
	a.failed()
}

// A verification explains all connection failures alike, follows no redirect, and quotes nothing that
// the provider sent.
func TestAttackByAnswersOfTheProvider(t *testing.T) {
	a := newAttack(t)
	verify := func() *authmaterialv1.Verification {
		answer, reason := a.call("VerifyCredential", &authmaterialv1.VerifyCredentialRequest{CredentialId: victim})
		if reason != "" {
			t.Errorf("verify: %s", reason)
		}
		return answer.(*authmaterialv1.VerifyCredentialResponse).GetVerification()
	}
	reconnect := a.sim.Disconnect()
	want := verify()
	reconnect()
	for name, failure := range map[string]simulator.Failure{"closed": simulator.CloseConnection(), "cut off": simulator.CutAnswer()} {
		a.sim.Pendo.FailAPIRequests(failure)
		if got := verify(); got.GetOutcome() != want.GetOutcome() || got.GetExplanation() != want.GetExplanation() || got.GetHttpStatus() != 0 {
			t.Errorf("%s: the explanation is %v, want %v", name, got.GetExplanation(), want.GetExplanation())
		}
	}
	for _, failure := range []simulator.Failure{simulator.Redirect(http.StatusTemporaryRedirect), simulator.EchoRequest()} {
		a.sim.Pendo.FailAPIRequests(failure)
		if got := verify(); got.GetOutcome() == authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_ACCEPTED {
			t.Errorf("the outcome is %v", got.GetOutcome())
		}
	}
	if a.sent.to("app.pendo.io") == "" || a.sent.to(foreign) != "" {
		t.Error("a redirect was followed, or no request was recorded")
	}
	a.sim.Pendo.RestoreAPIRequests()
	a.failed()
}

// The attacker tries to plant a credential under an ID that others use.
func TestAttackByPlanting(t *testing.T) {
	a := newAttack(t)
	plant := func(id, name string) *authmaterialv1.CreateCredentialRequest {
		return &authmaterialv1.CreateCredentialRequest{
			CredentialId: id, Values: fieldValues(map[string]string{"api_key": "k"}),
			Credential: &authmaterialv1.Credential{DisplayName: name, Provider: "pendo", AuthMethod: "api_key"},
		}
	}
	a.refused("an ID of others", "ACCESS_DENIED", "", "CreateCredential", plant("team-payroll", "x"))
	a.refused("a name that becomes an ID of others", "ACCESS_DENIED", "", "CreateCredential", plant("", "Team payroll"))
	a.refused("an ID that managed credentials may not have", "INVALID_REQUEST", "store.id_patterns", "CreateCredential", plant("reserved-x", "x"))
	a.refused("the ID of a declared credential", "INVALID_REQUEST", "store.id_patterns", "CreateCredential", plant(there, "x"))
	for _, request := range []proto.Message{
		&authmaterialv1.UpdateCredentialRequest{Credential: &authmaterialv1.Credential{CredentialId: there}, Etag: "1"},
		&authmaterialv1.CreateCredentialVersionRequest{CredentialId: there, Etag: "1", Values: fieldValues(map[string]string{"api_key": "k"})},
	} {
		name := strings.TrimSuffix(string(request.ProtoReflect().Descriptor().Name()), "Request")
		a.refused(name, "CREDENTIAL_READ_ONLY", "", name, request)
	}
	a.failed()
}

// The attacker tries to get the material of a canary, or to guess the content of another caller's
// request.
func TestAttackByCanaryAndRequestID(t *testing.T) {
	a := newAttack(t)
	own := a.addVersion(victim, nil, map[string]string{"api_key": "key-of-the-attacker"})
	own.Activate = false
	if _, reason := a.call("CreateCredentialVersion", own); reason != "" {
		t.Fatal(reason)
	}
	if _, reason := a.call("ActivateCredentialVersion", a.activate(victim, 2, "token:attacker")); reason != "" {
		t.Fatal(reason)
	}
	a.failed()
	// Version 2 is activated. Then version 1 becomes the canary, which only the attacker would get.
	for _, request := range []*authmaterialv1.ActivateCredentialVersionRequest{a.activate(victim, 2), nil} {
		if request == nil {
			request = a.activate(victim, 1, "token:attacker")
		}
		if _, reason := a.call("ActivateCredentialVersion", request); reason != "" {
			t.Fatal(reason)
		}
	}
	if _, err := a.material("attacker", victim); status.Code(err) != codes.PermissionDenied {
		t.Errorf("the canary gives the attacker the material: %v", err)
	}
	if _, reason := a.call("ActivateCredentialVersion", a.activate(victim, 1)); reason != "" {
		t.Fatal(reason)
	}
	client := a.sim.SendPulse.Client()
	for _, secret := range []string{client.Secret, "guess"} {
		_, err := a.invoke("attacker", "CreateCredential", &authmaterialv1.CreateCredentialRequest{
			CredentialId: paired, RequestId: "first", Values: fieldValues(map[string]string{"client_id": client.ID, "client_secret": secret}),
			Credential: &authmaterialv1.Credential{DisplayName: "p", Provider: "sendpulse", AuthMethod: "oauth2_client_credentials"},
		})
		if got := reasonOf(status.Convert(err)); got != "CREDENTIAL_EXISTS" {
			t.Errorf("a CreateCredential request with the request ID of another caller fails with %q, want CREDENTIAL_EXISTS", got)
		}
	}
	for _, name := range []string{"GetCredential", "ListCredentialVersions", "ListCredentialEvents", "ExplainAccess"} {
		if _, reason := a.call(name, managementMethods[name].request(victim)); reason != "" {
			t.Errorf("%s: %s", name, reason)
		}
	}
	a.failed()
}
