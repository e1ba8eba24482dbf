package strategies_test

import (
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/strategies"
)

// `elsewhere` returns a token source whose token request was changed by the function `change`.
func elsewhere(t *testing.T, client *strategies.TokenClient, change func(*catalog.TokenRequest)) *strategies.TokenSource {
	t.Helper()
	credential := sendPulse("id-"+canary, "secret-"+canary)
	method := *credential.Method
	request := *method.TokenRequest
	change(&request)
	method.TokenRequest, credential.Method = &request, &method
	return newTokens(t, credential, client)
}

// TestWhereTokenRequestsGo makes real connections to a server on this machine. The server's name,
// localhost, is not an IP address, but resolves to a private address.
func TestWhereTokenRequestsGo(t *testing.T) {
	asked := 0
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = io.WriteString(w, `{"access_token":"t"}`)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	local, literal := "https://localhost:"+port+"/?key="+canary, server.URL+"/?key="+canary
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	direct := func(*http.Request) (*url.URL, error) { return nil, nil }
	through := func(host string) func(*http.Request) (*url.URL, error) {
		return http.ProxyURL(&url.URL{Scheme: "http", Host: host, User: url.UserPassword("u", canary)})
	}
	for name, test := range map[string]struct {
		location string
		allowed  bool
		options  egress.Options
		want     string // the end of the error message; empty if the request must succeed
	}{
		"a private address":            {local, false, egress.Options{RootCAs: roots}, "and allow_private_addresses is not set"},
		"a literal loopback":           {literal, false, egress.Options{RootCAs: roots}, ""},
		"an allowed address":           {local, true, egress.Options{RootCAs: roots}, "the server's certificate is for another host"},
		"a literal private address":    {"https://10.0.0.1/?key=" + canary, false, egress.Options{Proxy: through("127.0.0.1:1")}, "and allow_private_addresses is not set"},
		"an unknown authority":         {literal, false, egress.Options{}, "the server's certificate is signed by an unknown authority"},
		"a refused connection":         {"https://127.0.0.1:1/?key=" + canary, false, egress.Options{}, "the connection was refused"},
		"an unreachable proxy":         {"https://example.com/?key=" + canary, false, egress.Options{Proxy: through("127.0.0.1:1")}, "the proxy that HTTPS_PROXY names cannot be reached"},
		"a server that is not a proxy": {"https://example.com/?key=" + canary, false, egress.Options{Proxy: through(server.Listener.Addr().String())}, "the connection was cut off"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.options.Proxy == nil {
				test.options.Proxy = direct
			}
			transport := egress.NewTransport(test.options)
			asked = 0
			var event strategies.TokenRequestEvent
			client := strategies.NewTokenClient(strategies.TokenClientOptions{
				Transport: transport, Observe: func(e strategies.TokenRequestEvent) { event = e },
			})
			_, err := elsewhere(t, client, func(r *catalog.TokenRequest) {
				r.URL, r.AllowPrivateAddresses = urlOf(t, test.location), test.allowed
			}).RequestToken(t.Context())
			if test.want == "" {
				if err != nil || asked != 1 {
					t.Errorf("%d requests: %v", asked, err)
				}
				return
			}
			known := fault.From(err)
			if known.Reason != fault.ProviderUnavailable || !strings.HasSuffix(known.Message, test.want) || asked != 0 {
				t.Errorf("%d requests: %v", asked, err)
			}
			for _, leak := range []string{canary, "127.0.0.1", "10.0.0.1", port} {
				if strings.Contains(err.Error(), leak) || strings.Contains(event.Err.Error(), leak) {
					t.Error("the error quotes the URL, the proxy or an address")
				}
			}
		})
	}
}

// TestRedirectsAreNotFollowed checks that the secret is sent only to the host that the provider's
// definition names.
func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			t.Errorf("a redirect with status %d was followed", status)
		}))
		server := httptest.NewServer(http.RedirectHandler(other.URL+"/"+canary, status))
		client := strategies.NewTokenClient(strategies.TokenClientOptions{})
		_, err := elsewhere(t, client, func(r *catalog.TokenRequest) { r.URL = urlOf(t, server.URL) }).RequestToken(t.Context())
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("after status %d: %v", status, err)
		}
		server.Close()
		other.Close()
	}
}
