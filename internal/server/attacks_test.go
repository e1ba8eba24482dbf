package server_test

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/server"
)

// The attacker may manage the credentials whose IDs begin with "victim" or "reserved", and the
// declared credential key-of-board, but may use none. The attacker controls the host partner, which
// managed credentials may add, and the host foreign, which they may not add.
const (
	partner = simulator.ExampleHost
	foreign = simulator.RedirectHost
	victim  = "victim"      // a credential with one secret field
	paired  = "victim-pair" // a credential with a client secret and a token
)

var storeKey = fleetkeys.Generate()

// An attack is a server with credentials of others, and what the attacker has learned.
type attack struct {
	managing
	secrets []string // values and material that the attacker must not obtain
	sent    *sentRequests
	learned strings.Builder // the answers and errors that the attacker got
	want    map[string][]string
}

// sentRequests records all requests of the broker to providers.
type sentRequests struct {
	http.RoundTripper

	mu   sync.Mutex
	text map[string]string // by host
}

func (s *sentRequests) RoundTrip(request *http.Request) (*http.Response, error) {
	dump, err := httputil.DumpRequestOut(request, true)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.text[request.URL.Host] += string(dump)
	s.mu.Unlock()
	return s.RoundTripper.RoundTrip(request)
}

func (s *sentRequests) to(host string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text[host]
}

func attackerText(file string) string {
	return grantingText([]string{"owner", "attacker", "web"}, `
  - {callers: ["token:owner"], credentials: ["*"], actions: [manage]}
  - {callers: ["token:attacker"], credentials: ["victim*", "reserved*", "key-of-board"], actions: [manage]}
  - {callers: ["token:web"], credentials: ["*"]}
limits: {denials_per_second: 1000000}
`, "  url: sqlite://"+file+"\n  id_patterns: [\"victim*\", team-*]\n  allowed_hosts: ["+partner+"]\n")
}

func newAttack(t *testing.T) *attack {
	t.Helper()
	a := &attack{sent: &sentRequests{text: map[string]string{}}}
	a.managing = serveGranted(t, a.sent)
	client := a.sim.SendPulse.Client()
	a.secrets = []string{a.sim.Pendo.Key(), client.Secret}
	a.create("owner", victim, "pendo", a.sim.Pendo.Key())
	if _, err := a.credentials.CreateCredential(a.as("owner"), &authmaterialv1.CreateCredentialRequest{
		CredentialId: paired, Values: fieldValues(map[string]string{"client_id": client.ID, "client_secret": client.Secret}), RequestId: "first",
		Credential: &authmaterialv1.Credential{DisplayName: "p", Provider: "sendpulse", AuthMethod: "oauth2_client_credentials"},
	}); err != nil {
		t.Fatal(err)
	}
	a.want = map[string][]string{victim: a.mustMaterial("web", victim), paired: a.mustMaterial("web", paired)}
	a.secrets = append(a.secrets, a.want[paired]...)
	return a
}

func serveGranted(t *testing.T, sent *sentRequests) managing {
	t.Helper()
	text := attackerText(filepath.Join(t.TempDir(), "broker.db"))
	return serveStored(t, text, storeKey, func(o *server.Options) {
		sent.RoundTripper, o.TokenTransport = o.TokenTransport, sent
	})
}

// call calls a method as the attacker, and returns the reason of its error.
func (a *attack) call(name string, request proto.Message) (answer proto.Message, reason string) {
	a.Helper()
	answer, err := a.invoke("attacker", name, request)
	failure := status.Convert(err)
	fmt.Fprintf(&a.learned, "%s%s%v\n", textOf(answer), textOf(failure.Proto()), failure.Details())
	return answer, reasonOf(failure)
}

// textOf returns the encoding of a message, in which every text of the message can be found.
func textOf(message proto.Message) string {
	data, err := proto.Marshal(message)
	if err != nil {
		panic(err) // cannot happen: every required field is set
	}
	return string(data)
}

// refused checks that a call of the attacker fails for this reason, and that the message names
// `about`.
func (a *attack) refused(what, reason, about, name string, request proto.Message) {
	a.Helper()
	before := a.learned.Len()
	if _, got := a.call(name, request); got != reason || !strings.Contains(a.learned.String()[before:], about) {
		a.Errorf("%s: the reason is %q, want %q, with a message about %q: %s", what, got, reason, about, a.learned.String()[before:])
	}
}

// failed checks that all attempts were in vain: others get the same material for the same hosts,
// the attacker gets none, and nothing that the attacker has seen contains a secret.
func (a *attack) failed() {
	a.Helper()
	for id, want := range a.want {
		answer, err := a.client().GetAuthDecoration(a.as("web"), &authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
		if got := a.mustMaterial("web", id); !slices.Equal(got, want) || err != nil {
			a.Errorf("%s: others get other material than before", id)
		}
		for _, host := range answer.GetAuthDecoration().GetAllowedHosts() {
			if host == partner || host == foreign {
				a.Errorf("%s may be sent to %s", id, host)
			}
		}
		if _, err := a.material("attacker", id); status.Code(err) != codes.PermissionDenied {
			a.Errorf("%s: the attacker gets the material: %v", id, err)
		}
	}
	for _, secret := range a.secrets {
		for what, text := range map[string]string{
			"what the attacker has learned": a.learned.String(), "a request to " + partner: a.sent.to(partner), "a request to " + foreign: a.sent.to(foreign), "the log": a.log.String(),
		} {
			if strings.Contains(text, secret) {
				a.Errorf("%s contains a secret", what)
			}
		}
	}
}

func (a *attack) etag(id string) string {
	a.Helper()
	return a.mustGet("owner", id).GetEtag()
}

// addVersion returns the request for a version of a credential with the given hosts and values.
func (a *attack) addVersion(id string, hosts []string, values map[string]string) *authmaterialv1.CreateCredentialVersionRequest {
	a.Helper()
	return &authmaterialv1.CreateCredentialVersionRequest{
		CredentialId: id, Etag: a.etag(id), AllowedHosts: hosts, Values: fieldValues(values), Activate: true, AcceptInconclusive: true,
	}
}

func (a *attack) activate(id string, version int32, callers ...string) *authmaterialv1.ActivateCredentialVersionRequest {
	a.Helper()
	return &authmaterialv1.ActivateCredentialVersionRequest{CredentialId: id, Etag: a.etag(id), Version: version, Callers: callers}
}

// The attacker tries to add hosts to which others then send the secret.
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

	// With a secret of their own, the attacker can add a host. The hosts of a version stay with its
	// secret.
	if _, reason := a.call("CreateCredentialVersion", a.addVersion(victim, []string{partner}, own)); reason != "" {
		t.Fatalf("a version with all secrets: %s", reason)
	}
	answer, err := a.client().GetAuthDecoration(a.as("web"), &authmaterialv1.GetAuthDecorationRequest{CredentialId: victim})
	if err != nil || !slices.Contains(answer.GetAuthDecoration().GetAllowedHosts(), partner) || strings.Contains(textOf(answer), a.secrets[0]) {
		t.Errorf("the version of the attacker: %v, %v", answer.GetAuthDecoration().GetAllowedHosts(), err)
	}
	if _, reason := a.call("ActivateCredentialVersion", a.activate(victim, 1)); reason != "" {
		t.Fatalf("roll back: %s", reason)
	}
	a.refused("hosts of an older version", "INVALID_REQUEST", "values.api_key", "CreateCredentialVersion", a.addVersion(victim, []string{partner}, nil))
	a.failed()
}

// While a new secret has no token, others get the token of the old secret, but never for a host that
// only the new version has.
func TestAttackByATokenOfTheOldSecret(t *testing.T) {
	a := newAttack(t)
	request := a.addVersion(paired, []string{partner}, map[string]string{"client_id": "id-of-the-attacker", "client_secret": "secret-of-the-attacker"})
	if _, reason := a.call("CreateCredentialVersion", request); reason != "" {
		t.Fatalf("a version with all secrets: %s", reason)
	}
	a.failed() // the provider refuses the new secret, so others get the old token
	if _, reason := a.call("ActivateCredentialVersion", a.activate(paired, 1)); reason != "" {
		t.Fatal(reason)
	}
	if _, reason := a.call("ActivateCredentialVersion", a.activate(paired, 2, "token:attacker", "token:web")); reason != "" {
		t.Fatal(reason)
	}
	a.failed() // the new version as the canary
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

// The attacker tries to verify at other hosts, or to find out more than an outcome.
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
			t.Errorf("%s: %v, want %v", name, got.GetExplanation(), want.GetExplanation())
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

// The attacker tries to get the material as the canary, or to guess the content of a request of
// others.
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
	// Version 1 becomes the canary for the attacker.
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
			t.Errorf("the request ID of others, with the right secret or a guess: %s", got)
		}
	}
	for _, name := range []string{"GetCredential", "ListCredentialVersions", "ListCredentialEvents", "ExplainAccess"} {
		if _, reason := a.call(name, managementMethods[name].request(victim)); reason != "" {
			t.Errorf("%s: %s", name, reason)
		}
	}
	a.failed()
}
