package fleettest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// MethodID is the ID of the auth method of every provider. The fields of the auth method are
// client_id and client_secret.
const MethodID = "client_credentials"

const (
	tokenPattern = "POST 127.0.0.1/oauth/token"
	tokenPath    = "/oauth/token"
	apiPattern   = "GET 127.0.0.1/api"
	apiPath      = "/api"
)

// Provider is the simulated provider, with one token endpoint and one API, which brokers and
// callers reach over TCP.
type Provider struct {
	*simulator.TokenEndpoint

	sim    *simulator.Simulator
	clock  *shiftedClock
	url    string // URL of the token endpoint
	apiURL string
	client *http.Client
}

func startProvider(t testing.TB, options Options) *Provider {
	t.Helper()
	clock := &shiftedClock{Clock: clockwork.NewRealClock()}
	sim, err := simulator.New(simulator.InProcess(), simulator.WithClock(clock))
	if err != nil {
		t.Fatal(err)
	}
	// The broker allows token requests over http if the host is a literal loopback address.
	front := httptest.NewServer(sim.Handler())
	t.Cleanup(func() {
		_ = sim.Close() // closing the simulator also ends requests whose answers are held back
		front.Close()
	})
	p := &Provider{
		TokenEndpoint: sim.HandleTokens(tokenPattern, simulator.TokenRules{Body: simulator.JSONBody}),
		sim:           sim,
		clock:         clock,
		url:           front.URL + tokenPath,
		apiURL:        front.URL + apiPath,
		client:        &http.Client{Timeout: Patience, Transport: &http.Transport{MaxIdleConnsPerHost: 1000}},
	}
	t.Cleanup(p.client.CloseIdleConnections)
	sim.Expect(apiPattern, p.TokenEndpoint.Accepts)
	p.SetTokenLifetime(options.Lifetime)
	p.SetEndsPreviousToken(options.EndsPrevious)
	return p
}

type shiftedClock struct {
	clockwork.Clock

	offset atomic.Int64 // a time.Duration
}

func (c *shiftedClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.offset.Load())) }

// ShiftClock moves the provider's clock forward by d, so that tokens expire earlier.
func (p *Provider) ShiftClock(d time.Duration) { p.clock.offset.Add(int64(d)) }

// Disconnect makes the provider unreachable until the returned function is called.
func (p *Provider) Disconnect() (reconnect func()) { return p.sim.Disconnect() }

// Accepts reports whether the provider would accept a request with the decoration now, as a request
// of the given client.
func (p *Provider) Accepts(decoration *authmaterialv1.AuthDecoration, client simulator.Client) bool {
	return p.ClientOf(&http.Request{Header: header(decoration)}) == client.ID
}

// Token returns the token in a decoration, even if it is expired or revoked. The result `ok` is
// false if the decoration contains no token of this provider.
func (p *Provider) Token(decoration *authmaterialv1.AuthDecoration) (token simulator.Token, ok bool) {
	return p.TokenOf(&http.Request{Header: header(decoration)})
}

// Call calls the provider's API with a decoration, and returns the status: 200, or 401 if the
// provider does not accept the token.
func (p *Provider) Call(decoration *authmaterialv1.AuthDecoration) (status int, err error) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, p.apiURL, nil)
	if err != nil {
		return 0, err
	}
	request.Header = header(decoration)
	response, err := p.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

func header(decoration *authmaterialv1.AuthDecoration) http.Header {
	all := make(http.Header)
	for _, h := range decoration.GetHeaders() {
		all.Set(h.GetName(), h.GetValue())
	}
	return all
}
