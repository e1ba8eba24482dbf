package proxytest_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/proxytest"
)

const proxy = "spiffe://example.org/egress-proxy"

// proxies start each proxy.
var proxies = map[string]func(*proxytest.World, func(string) string) string{
	"envoy": (*proxytest.World).StartEnvoy,
	"nginx": (*proxytest.World).StartNginx,
}

// received records the requests to a path that begins with /attack of all providers.
func received(w *proxytest.World) *atomic.Pointer[http.Request] {
	last := new(atomic.Pointer[http.Request])
	for _, host := range []string{"api.sendpulse.com", "app.pendo.io", "pulsedive.com"} {
		w.Simulator.Handle(host+"/attack", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			last.Store(r.Clone(context.Background()))
		}))
	}
	return last
}

// TestClientsCannotChooseTheMaterial sends requests that try to select another credential or another
// host, or to add material of the client's own.
func TestClientsCannotChooseTheMaterial(t *testing.T) {
	for name, start := range proxies {
		t.Run(name, func(t *testing.T) {
			w := proxytest.New(t, nil)
			last, url := received(w), start(w, nil)
			attack := []string{
				"Host", "evil.example", "Authorization", "Bearer evil",
				"X-Pendo-Integration-Key", "evil", "x-pendo-integration-KEY", "evil", "X-Original-URI", "/?key=evil",
				"Credential-Id", "pulsedive", "X-Authmaterial-Host", "evil.example", "X-Forwarded-Host", "evil.example",
				"X-Envoy-Original-Path", "/evil", "X-Accel-Redirect", "/broker/pendo",
			}
			if name == "envoy" { // nginx itself refuses a second Authorization header
				attack = append(attack, "Authorization", "Basic evil")
			}
			expect := func(path, host string, check func(*http.Request) bool) {
				last.Store(nil)
				answer := w.Get(url+path, attack...)
				switch r := last.Load(); {
				case answer.Status != http.StatusOK || r == nil:
					t.Errorf("%s has the status %d", path, answer.Status)
				case r.Host != host || !check(r):
					t.Errorf("%s: the provider received a wrong request for %s", path, r.Host)
				}
			}
			expect("/pendo/attack?credential_id=pulsedive&host=evil.example", "app.pendo.io", func(r *http.Request) bool {
				return slices.Equal(r.Header.Values("X-Pendo-Integration-Key"), []string{w.Simulator.Pendo.Key()})
			})
			expect("/sendpulse/attack", "api.sendpulse.com", func(r *http.Request) bool {
				return len(r.Header.Values("Authorization")) == 1 && w.Simulator.SendPulse.Accepts(r)
			})
			for _, query := range []string{"key=evil", "a=1&key=evil&b=%2B", "k%65y=evil", "key=evil&%6b%65%79=evil&key", "key", ""} {
				expect("/pulsedive/attack?"+query, "pulsedive.com", func(r *http.Request) bool {
					got := r.URL.Query()
					return slices.Equal(got["key"], []string{w.Simulator.Pulsedive.Key()}) &&
						(!strings.Contains(query, "a=1") || got.Get("a") == "1" && got.Get("b") == "+")
				})
			}
			for _, path := range []string{"/broker/pendo", "/other", "/"} {
				if answer := w.Get(url + path); answer.Status != http.StatusNotFound {
					t.Errorf("%s has the status %d", path, answer.Status)
				}
			}
		})
	}
}

// TestRequestsWithoutPermissionAreNotSent checks that a proxy refuses the requests of its clients if
// it has no grant, or names a host that is not allowed.
func TestRequestsWithoutPermissionAreNotSent(t *testing.T) {
	for name, start := range proxies {
		t.Run(name, func(t *testing.T) {
			w := proxytest.New(t, func(text string) string {
				return strings.Replace(text, "credentials: [sendpulse-oauth, pendo, pulsedive]", "credentials: [pendo]", 1)
			})
			last := received(w)
			url := start(w, func(text string) string { // nobody may send the key of Pendo to evil.example
				return strings.NewReplacer("credential_id: pendo, host: app.pendo.io", "credential_id: pendo, host: evil.example",
					"credential_id=pendo&host=app.pendo.io", "credential_id=pendo&host=evil.example").Replace(text)
			})
			for path, wanted := range map[string][]int{"/pendo/attack": {403}, "/pulsedive/attack": {403}, "/sendpulse/attack": {401, 403}} {
				if answer := w.Get(url + path); !slices.Contains(wanted, answer.Status) || last.Load() != nil {
					t.Errorf("%s has the status %d", path, answer.Status)
				}
			}
			denied := 0
			for _, record := range w.Audit() {
				if record["caller"] == proxy && record["outcome"] == "ACCESS_DENIED" {
					denied++
				}
			}
			if denied < 3 {
				t.Errorf("the audit log has %d denials of the proxy, want at least 3", denied)
			}
		})
	}
}

// TestRemovedGrantEmptiesTheSecret checks that Envoy stops using a secret that it already has.
func TestRemovedGrantEmptiesTheSecret(t *testing.T) {
	w := proxytest.New(t, nil)
	url := w.StartEnvoy(nil)
	if answer := w.Get(url + paths[0]); answer.Status != http.StatusOK {
		t.Fatalf("before the removal the status is %d", answer.Status)
	}
	w.ReplaceInConfig("credentials: [sendpulse-oauth, pendo, pulsedive]", "credentials: [pendo]")
	before := w.Simulator.SendPulse.APIRequests()
	deadline := time.Now().Add(10 * time.Second)
	for w.Get(url+paths[0]).Status != http.StatusUnauthorized || w.Simulator.SendPulse.APIRequests() != before {
		if before = w.Simulator.SendPulse.APIRequests(); time.Now().After(deadline) {
			t.Fatal("Envoy still sends the secret")
		}
	}
}

// TestSecretsThatAreNotOneHeader checks that the broker refuses a secret with a reason.
func TestSecretsThatAreNotOneHeader(t *testing.T) {
	w := proxytest.New(t, nil)
	stream, err := secretv3.NewSecretDiscoveryServiceClient(w.Dial(proxy)).StreamSecrets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&discoveryv3.DiscoveryRequest{ResourceNames: []string{"pulsedive"}}); err != nil {
		t.Fatal(err)
	}
	response, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	secret := new(tlsv3.Secret)
	if err := response.GetResources()[0].UnmarshalTo(secret); err != nil || secret.GetGenericSecret().GetSecret().GetInlineString() != "" {
		t.Errorf("the secret is not empty (%v)", err)
	}
	if _, err = stream.Recv(); status.Code(err) != codes.InvalidArgument || !strings.Contains(status.Convert(err).Message(), "ext_authz") {
		t.Errorf("the stream ended with %v", err)
	}
}

// TestUnprovedProxies checks that callers without a proof, and queries that a client could have
// changed, get nothing.
func TestUnprovedProxies(t *testing.T) {
	w := proxytest.New(t, nil)
	connection := w.Dial("")
	_, err := authv3.NewAuthorizationClient(connection).Check(t.Context(), new(authv3.CheckRequest))
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("Check ended with %v", err)
	}
	stream, err := secretv3.NewSecretDiscoveryServiceClient(connection).StreamSecrets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&discoveryv3.DiscoveryRequest{Node: &corev3.Node{Id: "x"}, ResourceNames: []string{"pendo"}})
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("StreamSecrets ended with %v", err)
	}
	for _, one := range []struct {
		name     string
		settings *tls.Config
		query    string
		want     int
	}{
		{"right", w.ClientTLS(proxy), "credential_id=pendo&host=app.pendo.io", 204},
		{"without a certificate", w.ClientTLS(""), "credential_id=pendo&host=app.pendo.io", 401},
		{"another caller", w.ClientTLS("spiffe://example.org/other"), "credential_id=pendo&host=app.pendo.io", 403},
		{"a second credential", w.ClientTLS(proxy), "credential_id=pendo&host=app.pendo.io&credential_id=pulsedive", 403},
		{"another parameter", w.ClientTLS(proxy), "credential_id=pendo&host=app.pendo.io&x=1", 403},
		{"no host", w.ClientTLS(proxy), "credential_id=pendo&host=", 403},
	} {
		transport := &http.Transport{TLSClientConfig: one.settings, DisableKeepAlives: true}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+w.HTTP+"/proxies/nginx?"+one.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != one.want {
			t.Errorf("%s: the status is %d, want %d: %s", one.name, response.StatusCode, one.want, body)
		}
	}
}

// TestProxiesAfterAReload checks that a reload without authentication, which is accepted on a loopback
// address, gives proxies without a proof nothing.
func TestProxiesAfterAReload(t *testing.T) {
	w := proxytest.New(t, func(text string) string { return strings.ReplaceAll(text, "0.0.0.0", "127.0.0.1") })
	w.ReplaceInConfig("    client_ca_file: ", "    # ", "proxies:\n  envoy: true\n  nginx: true\n", "", "grants:\n  - {", "# {")
	connection := w.Dial("")
	_, err := authmaterialv1.NewBrokerServiceClient(connection).GetAuthDecoration(t.Context(),
		&authmaterialv1.GetAuthDecorationRequest{CredentialId: "pendo"})
	if err != nil {
		t.Fatalf("the reload did not remove the authentication: %v", status.Code(err))
	}
	_, err = authv3.NewAuthorizationClient(connection).Check(t.Context(), new(authv3.CheckRequest))
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("Check ended with %v", err)
	}
}
