package fleettest

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// The provider of a fleet, and where it issues tokens.
const (
	providerID   = "fleet_provider"
	tokenPattern = "POST 127.0.0.1/oauth/token"
	tokenPath    = "/oauth/token"
)

// Provider is the simulated provider: one token endpoint, to which the brokers speak over
// TCP.
type Provider struct {
	*simulator.TokenEndpoint

	sim *simulator.Simulator
	url string
}

func startProvider(t testing.TB, options Options) *Provider {
	t.Helper()
	sim, err := simulator.New(simulator.InProcess())
	if err != nil {
		t.Fatal(err)
	}
	// Token requests go to literal loopback addresses without TLS, too.
	front := httptest.NewServer(sim.Handler())
	t.Cleanup(func() {
		_ = sim.Close() // ends requests that are held
		front.Close()
	})
	p := &Provider{
		TokenEndpoint: sim.HandleTokens(tokenPattern, simulator.TokenRules{Body: simulator.JSONBody}),
		sim:           sim,
		url:           front.URL + tokenPath,
	}
	p.SetTokenLifetime(options.Lifetime)
	p.SetEndsPreviousToken(options.EndsPrevious)
	return p
}

// Disconnect has no request reach the provider until reconnect is called.
func (p *Provider) Disconnect() (reconnect func()) { return p.sim.Disconnect() }

// Accepts says whether a request that has the decoration is now that of a client.
func (p *Provider) Accepts(decoration *authmaterialv1.AuthDecoration, client simulator.Client) bool {
	header := make(http.Header)
	for _, h := range decoration.GetHeaders() {
		header.Set(h.GetName(), h.GetValue())
	}
	return p.ClientOf(&http.Request{Header: header}) == client.ID
}
