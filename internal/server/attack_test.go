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

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/server"
)

// The attacker may manage the credentials whose IDs begin with "victim" or "reserved", and the
// declared credential key-of-board, but may use none. The attacker controls two hosts: managed
// credentials may add `partner` to their hosts, but not `foreign`.
const (
	partner = simulator.ExampleHost
	foreign = simulator.RedirectHost
	victim  = "victim"      // a credential with one secret field
	paired  = "victim-pair" // a credential with a client secret and a token
)

var storeKey = fleetkeys.Generate()

// An attack runs a server that has credentials of other callers, and records what the attacker
// learns.
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
		panic(err) // Marshal cannot fail, because every required field is set
	}
	return string(data)
}

// refused checks that a call of the attacker fails for the given reason, and that the message of
// the error contains `about`.
func (a *attack) refused(what, reason, about, name string, request proto.Message) {
	a.Helper()
	before := a.learned.Len()
	if _, got := a.call(name, request); got != reason || !strings.Contains(a.learned.String()[before:], about) {
		a.Errorf("%s: the reason is %q, want %q, with a message about %q: %s", what, got, reason, about, a.learned.String()[before:])
	}
}

// failed checks that all attempts were in vain: other callers get the same material for the same
// hosts as before, the attacker gets no material, and nothing that the attacker has seen contains a
// secret.
func (a *attack) failed() {
	a.Helper()
	for id, want := range a.want {
		answer, err := a.client().GetAuthDecoration(a.as("web"), &authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
		if got := a.mustMaterial("web", id); !slices.Equal(got, want) || err != nil {
			a.Errorf("%s: other callers do not get the same material as before", id)
		}
		for _, host := range answer.GetAuthDecoration().GetAllowedHosts() {
			if host == partner || host == foreign {
				a.Errorf("the material of %s may be sent to the host %s", id, host)
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
