package verification_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/simulated"
	"github.com/authmaterial/broker/internal/token"
	"github.com/authmaterial/broker/internal/verification"
)

const wrong = "wrong-0123456789abcdef"

// world is a simulator, and the credentials of its accounts by ID: one for each built-in auth method.
type world struct {
	*testing.T
	sim         *simulator.Simulator
	transport   http.RoundTripper
	verifier    *verification.Verifier
	credentials map[string]*credentials.Credential
}

// newWorld connects to the simulator over TLS, or in process if the options say so.
func newWorld(t *testing.T, options ...simulator.Option) *world {
	t.Helper()
	sim, err := simulator.New(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	transport := sim.RoundTripper()
	if sim.Addr() != "" {
		connected := sim.Transport()
		t.Cleanup(connected.CloseIdleConnections)
		transport = connected
	}
	return &world{
		T: t, sim: sim, transport: transport, verifier: verification.New(verification.Options{Transport: transport}),
		credentials: load(t, string(simulated.Config), simulated.Environment(sim)),
	}
}

// load returns the credentials of a configuration file by ID.
func load(t *testing.T, text string, lookup func(string) (string, bool)) map[string]*credentials.Credential {
	t.Helper()
	loaded, err := config.Parse("broker.yaml", []byte(text), config.Options{LookupEnv: lookup})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*credentials.Credential{}
	for credential := range loaded.Credentials.All() {
		all[credential.ID] = credential
	}
	return all
}

// `with` returns a copy of a credential, in which one field has another value.
func with(credential *credentials.Credential, field, value string) *credentials.Credential {
	changed := *credential
	changed.Values = maps.Clone(credential.Values)
	changed.Values[field] = secret.New(value)
	return &changed
}

// withWrongSecret returns a copy of a credential whose secret is wrong.
func withWrongSecret(credential *credentials.Credential) *credentials.Credential {
	field := "api_key"
	if credential.Method.Field("client_secret") != nil {
		field = "client_secret"
	}
	return with(credential, field, wrong)
}

// verify returns the result of a verification, which must not contain a secret.
func (w *world) verify(credential *credentials.Credential, current *token.Token) verification.Result {
	w.Helper()
	result, err := w.verifier.Verify(w.Context(), credential, current)
	if err != nil {
		w.Fatal(err)
	}
	if result.Time.IsZero() || result.Explanation == "" {
		w.Errorf("the result is incomplete: %+v", result)
	}
	text := fmt.Sprintf("%+v %#v", result, result)
	for _, one := range append(w.sim.Secrets(), wrong) {
		if strings.Contains(text, one) {
			w.Error("the result contains a secret")
		}
	}
	return result
}

// `want` checks a result; the explanation must contain the words passed.
func (w *world) want(got verification.Result, outcome catalog.Outcome, status int, words string) {
	w.Helper()
	if got.Outcome != outcome || got.HTTPStatus != status || !strings.Contains(got.Explanation, words) {
		w.Errorf("the result is %s, HTTP %d: %s\nwant %s, HTTP %d: ... %s ...",
			got.Outcome, got.HTTPStatus, got.Explanation, outcome, status, words)
	}
}

// apis returns the API of each credential, by the credential's ID.
func (w *world) apis() map[string]*simulator.API {
	return map[string]*simulator.API{
		"sendpulse-oauth": w.sim.SendPulse.API, "sendpulse-key": w.sim.SendPulse.API,
		"pulsedive": w.sim.Pulsedive.API, "pendo": w.sim.Pendo.API, "spotdraft": w.sim.SpotDraft.API,
	}
}
