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

	"github.com/authmaterial/broker/internal/admission"
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
	s := &Server{
		stopped:    make(chan struct{}),
		logger:     options.Logger,
		health:     health.NewServer(),
		metrics:    metrics,
		limits:     newLimits(options.Config.Limits, metrics.registry, options.Logger),
		shared:     newTokenStore(options, keys, metrics),
		audit:      records,
		listen:     options.Config.Listen,
		tokenCache: options.Config.TokenCache,
		auditing:   options.Config.Audit,
	}
	s.limits.denials = newDenials(options, s.limits, auditLog(records))
	ready := make(chan struct{}) // closed when the broker is there, or will not be
	s.identities = newIdentities(options.Logger, options.Clock, metrics.registry, func() {
		if <-ready; s.broker != nil {
			s.broker.ProofsChanged()
		}
	})
	s.tokens = s.newCache(options, traces) // it does nothing before Follow
	callers, err := s.identities.prepare(options.Config)
	if err == nil {
		s.broker, err = broker.New(broker.Load{Config: options.Config, Callers: callers}, broker.Options{
			Audit:       auditLog(records),
			Denials:     s.limits.denials,
			Tokens:      s.tokens,
			TokenClient: s.newTokenClient(options, traces),
			VersionKeys: keys.VersionKeys(),
			Clock:       options.Clock,
			Logger:      options.Logger,
			Encode:      rpc.Encode,

			StaticReported: metrics.static.reported,
		})
	}
	close(ready)
	if err != nil {
		s.identities.close()
		s.tokens.Close()
		s.shared.close()
		_ = records.Close()
		return nil, fmt.Errorf("prepare credentials and callers: %w", err)
	}
	s.tls = newListenerTLS(func() *config.ListenTLS { return s.broker.Current().Config.Listen.TLS }, metrics.registry, options.Logger)
	s.identities.use(callers)
	s.tokens.Follow()
	metrics.registry.MustRegister(newScrapeMetrics(s.broker, s.tokens, options.Clock))
	s.grpc = s.newGRPC(s.newService(options), traces)
	s.http = s.newHTTP(metrics)
	s.loaded(options.Config)
	return s, nil
}

// newService returns the service that answers calls.
func (s *Server) newService(options Options) *rpc.Service {
	lines := callLogger{s.logger, s.limits.lines}
	return rpc.NewService(rpc.Options{
		Broker:    s.broker,
		Admission: s.limits.Admission,
		Clock:     options.Clock,
		Waiting:   clock.ForWaiting(options.Clock),
		Logger:    s.logger,
		Metrics:   s.metrics.calls.of,
		Ended:     lines.ended,
		LogsAll:   s.logger.Enabled(context.Background(), slog.LevelDebug),
		Reached:   func(limit admission.Limit) { s.limits.record(limit, "") },
	})
}

// newCache returns the cache of tokens. It tells the broker of news once Follow was called.
func (s *Server) newCache(options Options, traces *tracing) *cache.Cache {
	return cache.Prepare(cache.Options{
		Store:        s.shared.store,
		Clock:        options.Clock,
		ForcedLimit:  options.Config.TokenCache.ForcedLimit,
		ForcedWindow: options.Config.TokenCache.ForcedWindow,
		Logger:       options.Logger,
		Changed:      func(key string) { s.broker.TokenChanged(key) },
		Forgotten:    func() { s.broker.RetryRefused() },
		Observe:      func(source cache.Source) cache.Observer { return s.tokenLog(options).observe(source, s.metrics.tokens) },
		Begin:        traces.flight,
	})
}

// newTokenClient returns what makes token requests.
func (s *Server) newTokenClient(options Options, traces *tracing) *strategies.TokenClient {
	return strategies.NewTokenClient(strategies.TokenClientOptions{
		Transport: newTokenTransport(options.TokenTransport, func() config.TokenRequests { return s.broker.Current().Config.TokenRequests }),

		Clock:         options.Clock,
		UserAgent:     "authmaterial-broker/" + options.Version,
		RenewalWindow: options.Config.TokenCache.RenewalWindow,
		Observe:       observeTokenRequests(s.tokenLog(options), s.metrics),
		Begin:         traces.tokenRequest,
	})
}

// tokenLog returns what names the credentials of tokens in the log.
func (s *Server) tokenLog(options Options) tokenLog {
	return tokenLog{options.Logger, options.Clock, func(key string) []string { return s.broker.CredentialsOf(key) }}
}

// ServeGRPC answers on the listener until Stop. It closes the listener.
func (s *Server) ServeGRPC(listener net.Listener) error {
	s.ready.Store(true)
	if s.stopping.Load() { // Stop came first, or comes just now
		s.ready.Store(false)
	}
	served := make(chan error, 1)
	go func() {
		served <- s.grpc.Serve(s.limits.Listener(listener, func() bool { return s.isTrusted(listener) }))
	}()
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
	if err := s.http.Serve(s.tls.over(s.limits.HTTPListener(listener))); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// isTrusted reports whether the connections of a listener need no proof: everybody who can connect
// gets the secrets.
func (s *Server) isTrusted(listener net.Listener) bool {
	current := s.broker.Current()
	local := !isRemote(listener.Addr())
	return rpc.IsTrusted(current, local) || local && listener.Addr().Network() != "unix" && !demandsProof(current.Config)
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
