package verification_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/verification"
)

// `own` returns a credential of a provider that has one host. The parameter `definition` is the
// content of the key `verification`, in YAML's flow style without braces.
func own(t *testing.T, host, definition string) *credentials.Credential {
	t.Helper()
	return load(t, fmt.Sprintf(`
credentials: [{id: c, provider: acme, auth_method: m, values: {key: {env: KEY}}}]
providers:
  - id: acme
    display_name: Acme
    allowed_hosts: ["%s"]
    auth_methods:
      - id: m
        display_name: M
        fields: [{id: key, display_name: Key, required: true, secret: true}]
        headers: [{name: X-Key, value: "${key}"}]
        verification: {%s}
`, host, definition), func(string) (string, bool) { return wrong, true })["c"]
}

const accepting = "answers: [{statuses: [200], json: {}, outcome: ACCEPTED}]"

// TestConnectionFailuresReadAlike checks that a verification through package egress cannot be used
// to find out which hosts and ports of a network exist.
func TestConnectionFailuresReadAlike(t *testing.T) {
	sim := newWorld(t).sim
	api := sim.Expect("GET localhost/me", func(*http.Request) bool { return true })
	literal := sim.Expect("GET 127.0.0.1/me", func(*http.Request) bool { return true })
	_, port, _ := net.SplitHostPort(sim.Addr())
	closed := httptest.NewServer(nil)
	closed.Close()
	trusting := egress.NewTransport(egress.Options{RootCAs: sim.CAPool(), Proxy: direct})
	suspicious := egress.NewTransport(egress.Options{Proxy: direct})
	const private = "allow_private_addresses: true, "
	for name, test := range map[string]struct {
		host       string
		definition string
		transport  http.RoundTripper
	}{
		"private address by name": {"localhost:" + port, "path: /me, ", trusting},
		"literal loopback":        {"127.0.0.1:" + port, "path: /me, ", trusting},
		"literal private address": {"10.0.0.1", "path: /me, ", trusting},
		"cloud metadata":          {"169.254.169.254", "path: /me, ", trusting},
		"refused":                 {closed.Listener.Addr().String(), private + "path: /me, ", trusting},
		"unknown authority":       {"localhost:" + port, private + "path: /me, ", suspicious},
		"unknown name":            {"acme.invalid", "path: /me, ", unresolved()},
	} {
		t.Run(name, func(t *testing.T) {
			verifier := verification.New(verification.Options{Transport: test.transport})
			got, err := verifier.Verify(t.Context(), own(t, test.host, test.definition+accepting), nil)
			const want = "Acme cannot be reached, or its answer did not arrive completely. Try again later."
			if err != nil || got.Outcome != catalog.Inconclusive || got.HTTPStatus != 0 || got.Explanation != want {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	if api.APIRequests()+literal.APIRequests() != 0 {
		t.Error("a request was sent to an address that is not allowed")
	}
	verifier := verification.New(verification.Options{Transport: trusting})
	for _, host := range []string{"localhost", "127.0.0.1"} {
		got, err := verifier.Verify(t.Context(), own(t, host+":"+port, private+"path: /me, "+accepting), nil)
		if err != nil || got.Outcome != catalog.Accepted {
			t.Errorf("a verification at an allowed private address returned the result %+v and the error %v", got, err)
		}
	}
}

func direct(*http.Request) (*url.URL, error) { return nil, nil }

// unresolved returns a transport that cannot resolve any name.
func unresolved() http.RoundTripper {
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
	}}
	return egress.NewTransport(egress.Options{Proxy: direct, Resolver: resolver})
}

// TestDefinitions checks the parts of a definition that no built-in definition uses.
func TestDefinitions(t *testing.T) {
	const answers = "answers: [{statuses: [200, 201], json: {ok: true, code: 0, name: a}, outcome: ACCEPTED}, " +
		"{statuses: [200], json: {ok: false}, outcome: REFUSED, explanation: Make a new key.}, {statuses: [204], outcome: ACCEPTED}, " +
		"{statuses: [206], outcome: INCONCLUSIVE}, {statuses: [302], outcome: REFUSED}]"
	for _, test := range []struct {
		method string
		status int
		body   string
		want   catalog.Outcome
		words  string
	}{
		{"GET", 200, `{"name":"a","code":0,"ok":true,"more":[1]}`, catalog.Accepted, "Acme accepted the credential (HTTP 200)."},
		{"POST", 201, `{"name":"a","code":0.0,"ok":true}`, catalog.Accepted, ""},
		{"GET", 200, `{"name":"b","code":0,"ok":true}`, catalog.Inconclusive, ""},
		{"GET", 200, `{"name":"a","code":"0","ok":true}`, catalog.Inconclusive, ""},
		{"GET", 200, `{"name":"a","code":{},"ok":true}`, catalog.Inconclusive, ""},
		{"GET", 200, `{"name":"a","ok":true}`, catalog.Inconclusive, ""},
		{"GET", 200, `[{"name":"a","code":0,"ok":true}]`, catalog.Inconclusive, ""},
		{"GET", 200, `null`, catalog.Inconclusive, ""},
		{"GET", 200, `{"ok":false}`, catalog.Refused, "Acme refused the credential (HTTP 200). Make a new key."},
		{"GET", 204, ``, catalog.Accepted, ""},
		{"GET", 206, `{}`, catalog.Inconclusive, "neither accepts nor refuses the credential (HTTP 206)."},
		{"GET", 302, ``, catalog.Refused, ""},
	} {
		t.Run(test.method+test.body, func(t *testing.T) {
			w := newWorld(t)
			var asked []string
			w.sim.Handle(simulator.ExampleHost+"/", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Method+" "+r.URL.String()+" "+r.Header.Get("X-Key"))
				rw.WriteHeader(test.status)
				_, _ = rw.Write([]byte(test.body))
			}))
			credential := own(t, simulator.ExampleHost, `url: "https://api.example.test/me?a=%2F", method: `+test.method+", "+answers)
			w.want(w.verify(credential, nil), test.want, test.status, test.words)
			if got, want := strings.Join(asked, "\n"), test.method+" /me?a=%2F "+wrong; got != want {
				t.Errorf("the request is %q, want %q", got, want)
			}
		})
	}
}
