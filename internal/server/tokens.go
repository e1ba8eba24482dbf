package server

import (
	"net/http"
	"sync"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/observe"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/token"
)

// newCache returns the token cache, which stores tokens in memory and, if configured, in Redis. The
// caller may set s.broker later, but before it calls cache.Follow: the cache uses s.broker only
// from then on.
func (s *Server) newCache(keys *fleetkeys.Ring, traces *observe.Traces) *cache.Cache {
	options := cache.Options{
		Clock:         s.clock,
		ForcedLimit:   s.fixed.TokenCache.ForcedLimit,
		ForcedWindow:  s.fixed.TokenCache.ForcedWindow,
		Logger:        s.logger,
		Versions:      func(key string, t *token.Token) []string { return s.broker.VersionsOf(key, t) },
		Changed:       func(key string) { s.broker.TokenChanged(key) },
		ResultChanged: func(key string) { s.broker.ResultChanged(key) },
		Forgotten:     func() { s.broker.RetryRefused() },
		Observe:       s.observer.Token,
		Begin:         traces.Flight,
	}
	s.closeStore = func() {}
	if redis := s.fixed.TokenCache.Redis; redis != nil {
		s.redis = s.observer.Redis()
		store := redisstore.New(redisstore.Options{
			Server: redisstore.Server(*redis), Keys: keys, Clock: s.clock, Logger: s.logger, Observer: s.redis,
		})
		options.Store, s.fleet, s.closeStore = store, store, store.Close
	}
	return cache.Prepare(options)
}

// transport returns the transport for requests to providers.
func (s *Server) transport(options Options) http.RoundTripper {
	if options.TokenTransport != nil {
		return options.TokenTransport
	}
	return &tokenTransport{server: s}
}

func userAgent(options Options) string { return "authmaterial-broker/" + options.Version }

func (s *Server) newTokenClient(options Options) *strategies.TokenClient {
	set := strategies.TokenClientOptions{
		Transport:     s.transport(options),
		Clock:         s.clock,
		UserAgent:     userAgent(options),
		RenewalWindow: s.fixed.TokenCache.RenewalWindow,
		Observe: func(event strategies.TokenRequestEvent) {
			s.observer.TokenRequested(event)
			s.broker.TokenRequested(event)
		},
		Begin: options.Traces.TokenRequest,
	}
	if s.fixed.Store != nil {
		set.RefreshTokens = &s.refreshTokens
	}
	return strategies.NewTokenClient(set)
}

// tokenTransport sends token requests with the token_requests settings of the configuration in use.
type tokenTransport struct {
	server *Server

	mu        sync.Mutex
	transport *egress.Transport
	rules     config.TokenRequests // settings of the transport
}

// RoundTrip implements http.RoundTripper.
func (t *tokenTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	rules := t.server.broker.Current().Config.TokenRequests
	t.mu.Lock()
	if t.transport == nil || !rules.Same(t.rules) {
		t.transport, t.rules = egress.NewTransport(egress.Options{RootCAs: rules.RootCAs}), rules
	}
	transport := t.transport
	t.mu.Unlock()
	return transport.RoundTrip(request)
}
