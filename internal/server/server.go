// Package server puts the parts of the broker together, and lets it answer: listeners,
// interceptors, metrics, health and stopping.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"

	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/rpc"
	"github.com/authmaterial/broker/internal/strategies"
)

const (
	// gracePeriod is how long calls that are under way may take when the server stops: as
	// long as a token request. Whatever comes of one that was sent is told, and no other
	// replica has to send it again.
	gracePeriod = 10 * time.Second
	// lastPeriod is how long they may take once their token requests were ended, and again
	// once their connections were closed. Then those that hang are left behind.
	lastPeriod = time.Second
)

// Options configure a Server. Config is required.
type Options struct {
	Config *config.Config
	// Logger is where the log goes. Default: slog.Default.
	Logger *slog.Logger
	// Clock is the time by which tokens live. Default: one that counts the machine's sleep.
	Clock clockwork.Clock
	// TokenTransport sends token requests. Default: a transport of its own. It is for
	// tests and the demo, where the providers' host names lead to a simulator.
	TokenTransport http.RoundTripper
	// Traces is where spans go. Default: nowhere, at no cost.
	Traces trace.TracerProvider
	// Version is the broker's own, for metrics and the User-Agent. Default: "dev".
	Version string
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = clock.New()
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	return o
}

// Server is the broker, ready to answer.
type Server struct {
	logger   *slog.Logger
	broker   *broker.Broker
	tokens   *cache.Cache
	grpc     *grpc.Server
	health   *health.Server
	http     *http.Server
	ready    atomic.Bool
	stopping atomic.Bool
	stopped  chan struct{} // closed when Stop has come to its end
	ended    sync.Once     // closes it

	metrics    *metrics
	identities *identities
	limits     *limits
	tls        *listenerTLS // nil: there is none
	outgoing   *tokenTransport
	shared     *tokenStore
	audit      *audit.Writer // nil: there are no records
	stale      atomic.Bool   // the last reload failed
	deniesAll  atomic.Bool   // the configuration has no grants
	exposure   atomic.Pointer[exposure]

	// What a reload does not change.
	listen     config.Listen
	tokenCache config.TokenCache
	auditing   config.Audit
}

// New puts a Server together. It listens nowhere yet.
func New(options Options) (*Server, error) {
	options = options.withDefaults()
	metrics := newMetrics(options.Version)
	traces := newTracing(options.Traces)
	records, err := newAudit(options, metrics)
	if err != nil {
		return nil, err
	}
	keys := options.Config.TokenCache.FleetKeys
	if keys == nil {
		keys = fleetkeys.RandomRing() // this process is the whole fleet
	}
	shared := newTokenStore(options, keys, metrics)
	var useCase atomic.Pointer[broker.Broker] // news of the fleet may come before there is one
	tokens := newCache(options, shared, metrics, traces, &useCase)
	limits := newLimits(options.Config.Limits, options.Clock, metrics.registry, options.Logger)
	limits.denials = newDenials(options, limits, auditLog(records))
	outgoing := newTokenTransport(options.TokenTransport, options.Config.TokenRequests)
	b, err := broker.New(options.Config.Credentials, options.Config.Policy, broker.Options{
		Audit:       auditLog(records),
		Denials:     limits.denials,
		Tokens:      tokens,
		TokenClient: newTokenClient(options, outgoing, metrics, traces, &useCase),
		VersionKeys: keys.VersionKeys(),
		Clock:       options.Clock,
		Logger:      options.Logger,

		StaticReported: metrics.static.reported,
	})
	who := newIdentities(options.Logger, options.Clock, metrics.registry, onceThereIs(&useCase, (*broker.Broker).Identified))
	var callers *authenticators
	if err == nil {
		callers, err = who.prepare(options.Config)
	}
	if err != nil {
		who.close()
		tokens.Close()
		shared.close()
		_ = records.Close()
		return nil, fmt.Errorf("prepare credentials and callers: %w", err)
	}
	who.use(callers, b.View())
	useCase.Store(b)
	metrics.registry.MustRegister(newScrapeMetrics(b, tokens, options.Clock))
	s := &Server{
		stopped:    make(chan struct{}),
		logger:     options.Logger,
		broker:     b,
		tokens:     tokens,
		health:     health.NewServer(),
		metrics:    metrics,
		identities: who,
		limits:     limits,
		tls:        newListenerTLS(options.Config.Listen.TLS, metrics.registry, options.Logger),
		outgoing:   outgoing,
		shared:     shared,
		audit:      records,
		listen:     options.Config.Listen,
		tokenCache: options.Config.TokenCache,
		auditing:   options.Config.Audit,
	}
	s.grpc = s.newGRPC(rpc.NewService(b, clock.ForWaiting(options.Clock), options.Logger), traces)
	s.http = s.newHTTP(metrics)
	s.loaded(options.Config)
	return s, nil
}

// newCache returns the cache of tokens. It tells the broker of news, once there is one.
func newCache(options Options, shared *tokenStore, metrics *metrics, traces *tracing, useCase *atomic.Pointer[broker.Broker]) *cache.Cache {
	return cache.New(cache.Options{
		Store:        shared.store,
		Clock:        options.Clock,
		ForcedLimit:  options.Config.TokenCache.ForcedLimit,
		ForcedWindow: options.Config.TokenCache.ForcedWindow,
		Logger:       options.Logger,
		Changed: func(key string) {
			if b := useCase.Load(); b != nil {
				b.TokenChanged(key)
			}
		},
		Forgotten: onceThereIs(useCase, (*broker.Broker).RetryRefused),
		Observe: func(source cache.Source) cache.Observer {
			return tokenLog{options.Logger, options.Clock, useCase}.observe(source, metrics.tokens)
		},
		Begin: traces.flight,
	})
}

// onceThereIs returns what tells a broker something, once there is one.
func onceThereIs(b *atomic.Pointer[broker.Broker], tell func(*broker.Broker)) func() {
	return func() {
		if b := b.Load(); b != nil {
			tell(b)
		}
	}
}

// newTokenClient returns what makes token requests.
func newTokenClient(options Options, transport http.RoundTripper, metrics *metrics, traces *tracing, useCase *atomic.Pointer[broker.Broker]) *strategies.TokenClient {
	return strategies.NewTokenClient(strategies.TokenClientOptions{
		Transport:     transport,
		Clock:         options.Clock,
		UserAgent:     "authmaterial-broker/" + options.Version,
		RenewalWindow: options.Config.TokenCache.RenewalWindow,
		Observe:       observeTokenRequests(tokenLog{options.Logger, options.Clock, useCase}, metrics),
		Begin:         traces.tokenRequest,
	})
}

// ServeGRPC answers on the listener until Stop. It closes the listener.
func (s *Server) ServeGRPC(listener net.Listener) error {
	s.ready.Store(true)
	if s.stopping.Load() { // Stop came first, or comes just now
		s.ready.Store(false)
	}
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(s.limits.listener(listener, s.limits.Connections)) }()
	select {
	case err := <-served:
		if !errors.Is(err, grpc.ErrServerStopped) {
			return err
		}
	case <-s.stopped: // gRPC waits for calls that hang
	}
	return nil
}

// ServeHTTP answers on the listener until Stop. It closes the listener.
func (s *Server) ServeHTTP(listener net.Listener) error {
	if err := s.http.Serve(s.tls.over(s.limits.listener(listener, s.limits.forHTTP()))); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ForgetFailures lets every credential that a provider refused be tried again at once.
func (s *Server) ForgetFailures(ctx context.Context) error {
	err := s.tokens.ForgetFailures(ctx)
	s.broker.RetryRefused()
	return err
}

// Stop ends the server in two phases. First health says NOT_SERVING, watches end, and
// calls that are under way finish; those that still wait for a token after 10 seconds,
// or when ctx ends, fail with SERVER_STOPPING. Then what they depend on closes. A call that
// hangs elsewhere, such as in a log that nobody reads, is left behind after 2 seconds more.
func (s *Server) Stop(ctx context.Context) {
	s.stopping.Store(true)
	s.ready.Store(false)
	s.health.Shutdown()
	s.broker.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	ctx, cancel := context.WithTimeout(ctx, gracePeriod)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		s.logger.Warn("calls are still under way: ending their token requests")
	}
	s.tokens.Close()
	select {
	case <-done:
	case <-time.After(lastPeriod):
		s.endCalls(done)
	}
	s.shared.close()
	s.identities.close()
	s.limits.close()
	if err := s.audit.Close(); err != nil {
		s.logger.Error("the audit file does not close", "error", err)
	}
	_ = s.http.Close()
	s.ended.Do(func() { close(s.stopped) })
}

// endCalls closes all connections, and waits a little for their calls to notice.
func (s *Server) endCalls(done <-chan struct{}) {
	go s.grpc.Stop() // it waits for calls too
	select {
	case <-done:
	case <-time.After(lastPeriod):
		s.logger.Error("calls hang, and are left behind")
	}
}

// Run answers on both listeners until ctx ends or one of them fails, and then stops.
// HTTP may be nil.
func (s *Server) Run(ctx context.Context, grpcListener, httpListener net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.ServeGRPC(grpcListener) })
	if httpListener != nil {
		group.Go(func() error { return s.ServeHTTP(httpListener) })
	}
	group.Go(func() error {
		<-ctx.Done()
		s.Stop(context.WithoutCancel(ctx))
		return nil
	})
	return group.Wait()
}
