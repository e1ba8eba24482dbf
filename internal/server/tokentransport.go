package server

import (
	"net/http"
	"sync"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/egress"
)

// tokenTransport sends token requests by the rules of the current Generation.
type tokenTransport struct {
	current func() config.TokenRequests

	mu    sync.Mutex
	made  *egress.Transport
	rules config.TokenRequests // of made
}

// newTokenTransport returns one for these rules, or the fixed one: for tests and the demo.
func newTokenTransport(fixed http.RoundTripper, current func() config.TokenRequests) http.RoundTripper {
	if fixed != nil {
		return fixed
	}
	return &tokenTransport{current: current}
}

// RoundTrip implements http.RoundTripper.
func (t *tokenTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	return t.transport().RoundTrip(request)
}

// transport returns a transport by the current rules. It stays the same, with its connections,
// until they change.
func (t *tokenTransport) transport() *egress.Transport {
	rules := t.current()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.made == nil || !rules.Same(t.rules) {
		t.made, t.rules = egress.NewTransport(egress.Options{RootCAs: rules.RootCAs}), rules
	}
	return t.made
}
