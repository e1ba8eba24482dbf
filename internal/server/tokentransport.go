package server

import (
	"net/http"
	"sync/atomic"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/egress"
)

// tokenTransport sends token requests as the configuration that is served has it.
type tokenTransport struct {
	fixed    http.RoundTripper // nil: current
	current  atomic.Pointer[egress.Transport]
	settings config.TokenRequests // of current
}

// newTokenTransport returns one of a configuration, or of a transport that no
// configuration changes.
func newTokenTransport(fixed http.RoundTripper, settings config.TokenRequests) *tokenTransport {
	t := &tokenTransport{fixed: fixed, settings: settings}
	t.current.Store(egress.NewTransport(egress.Options{RootCAs: settings.RootCAs}))
	return t
}

// use takes other settings, and returns those before. Requests that are under way go on.
func (t *tokenTransport) use(settings config.TokenRequests) (before config.TokenRequests) {
	before = t.settings
	if !settings.Same(before) {
		t.settings = settings
		t.current.Store(egress.NewTransport(egress.Options{RootCAs: settings.RootCAs}))
	}
	return before
}

// RoundTrip implements http.RoundTripper.
func (t *tokenTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if t.fixed != nil {
		return t.fixed.RoundTrip(request)
	}
	return t.current.Load().RoundTrip(request)
}
