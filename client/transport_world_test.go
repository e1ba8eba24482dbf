package client_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"path"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/authmaterial/broker/brokertest"
	"github.com/authmaterial/broker/client"
)

// acmeSecret is the key of the provider acme. The key contains characters that must be encoded in a
// query.
const acmeSecret = "canary&+key"

// acme is a provider with one auth method for each part of a request that can contain the key.
const acme = `
id: acme
display_name: Acme
allowed_hosts: [api.example.test]
auth_methods:
  - id: bearer
    display_name: Bearer
    fields: [{id: key, display_name: Key, required: true, secret: true}]
    headers: [{name: Authorization, value: "Bearer ${key}"}]
  - id: header
    display_name: Header
    fields: [{id: key, display_name: Key, required: true, secret: true}]
    headers: [{name: X-Acme-Key, value: "${key}"}]
  - id: query
    display_name: Query
    fields: [{id: key, display_name: Key, required: true, secret: true}]
    query_params: [{name: key, value: "${key}"}]
`

// tokenCredential configures a credential for the simulated SendPulse, which issues tokens.
const tokenCredential = `
credentials:
  - id: token
    provider: sendpulse
    auth_method: oauth2_client_credentials
    allowed_hosts: [api.example.test]
    values: {client_id: {env: SENDPULSE_CLIENT_ID}, client_secret: {env: SENDPULSE_CLIENT_SECRET}}
`

// `hosts` contains a real broker, the provider at https://api.example.test, and test servers that
// answer requests for every other host, port and scheme.
type hosts struct {
	*testing.T
	broker *calls
	client *client.Client
	base   *http.Transport

	mu       sync.Mutex
	provider []*http.Request // requests to the provider, whose bodies have been read
	bodies   []string
	strange  []string // requests to other hosts
}

// calls is a connection to the broker that counts the calls of each method.
type calls struct {
	grpc.ClientConnInterface
	mu    sync.Mutex
	count map[string]int
}

func (c *calls) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	c.mu.Lock()
	c.count[path.Base(method)]++
	c.mu.Unlock()
	return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

func newHosts(t *testing.T, answer http.HandlerFunc) *hosts {
	t.Helper()
	options := []brokertest.Option{brokertest.WithProvider(acme), brokertest.WithConfig(tokenCredential)}
	for _, method := range []string{"bearer", "header", "query"} {
		options = append(options, brokertest.WithCredentials(brokertest.Credential{
			ID: method, Provider: "acme", AuthMethod: method, Values: map[string]string{"key": acmeSecret},
		}))
	}
	h := &hosts{T: t, broker: &calls{ClientConnInterface: brokertest.New(t, options...).Conn(), count: map[string]int{}}}
	h.client = client.New(h.broker)
	t.Cleanup(h.client.Close)
	provider := httptest.NewTLSServer(h.keep(answer))
	other := httptest.NewTLSServer(http.HandlerFunc(h.stranger))
	plain := httptest.NewServer(http.HandlerFunc(h.stranger))
	t.Cleanup(func() { provider.Close(); other.Close(); plain.Close() })
	h.base = provider.Client().Transport.(*http.Transport).Clone()
	h.base.TLSClientConfig.RootCAs.AddCert(other.Certificate())
	h.base.TLSClientConfig.ServerName = "example.com" // a name in the servers' certificates
	h.base.TLSClientConfig.MinVersion = tls.VersionTLS12
	h.base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		to := other
		if address == "api.example.test:443" {
			to = provider
		} else if strings.HasSuffix(address, ":80") {
			to = plain
		}
		return new(net.Dialer).DialContext(ctx, network, to.Listener.Addr().String())
	}
	t.Cleanup(h.base.CloseIdleConnections)
	return h
}

// `keep` stores each request to the provider before the request is answered.
func (h *hosts) keep(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			h.Errorf("the body of a request cannot be read: %v", err)
		}
		h.mu.Lock()
		h.provider, h.bodies = append(h.provider, r), append(h.bodies, string(body))
		h.mu.Unlock()
		answer(w, r)
	}
}

func (h *hosts) stranger(w http.ResponseWriter, r *http.Request) {
	dump, err := httputil.DumpRequest(r, false)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.Errorf("a request cannot be read: %v", err)
	}
	h.strange = append(h.strange, string(dump))
	w.WriteHeader(http.StatusNoContent)
}

// `http` returns an http.Client that adds the material of a credential, and connects only to the
// test servers.
func (h *hosts) http(credential string) *http.Client {
	return &http.Client{Transport: h.client.Transport(credential, h.base)}
}
