// Package server connects the parts of the broker, and serves gRPC and HTTP. The package contains
// the listeners, TLS, health checks, and the reloading and stopping of the server.
package server

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"

	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/cache/redisstore"
	"github.com/authmaterial/broker/internal/clock"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/console"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/management"
	"github.com/authmaterial/broker/internal/observe"
	"github.com/authmaterial/broker/internal/rpc"
	"github.com/authmaterial/broker/internal/strategies"
)

// Options configure a Server. Config is required.
type Options struct {
	Config *config.Config
	// Logger receives the log messages. Default: slog.Default.
	Logger *slog.Logger
	// Clock is the clock by which tokens expire. Default: a clock that also counts the time while
	// the machine sleeps.
	Clock clockwork.Clock
	// TokenTransport sends token requests. Default: a transport with the token_requests settings of
	// the configuration. Tests and the demo set TokenTransport, so that requests reach a simulator.
	TokenTransport http.RoundTripper
	// OpenIDTransport sends requests to the issuers at which people sign in to the console. Default:
	// transports with the settings of the configuration.
	OpenIDTransport http.RoundTripper
	// Traces records spans of calls and token requests. Default: no traces.
	Traces *observe.Traces
	// Version is the broker's version in metrics and in the User-Agent header. Default: "dev".
	Version string
}

// Server is the broker with its listeners.
type Server struct {
	logger     *slog.Logger
	name       string // the replica's name in the fleet
	version    string
	clock      clockwork.Clock
	observer   *observe.Observer
	admission  *admission.Admission
	audit      *audit.Writer // nil if no audit records are written
	denials    *audit.Denials
	keys       *authentication.KeyFetcher
	broker     *broker.Broker
	tokens     *cache.Cache
	management *management.Service
	// tokenClient requests tokens.
	tokenClient   *strategies.TokenClient
	refreshTokens refreshTokens
	closeDriver   func()
	background    sync.WaitGroup
	redis         *observe.Redis    // nil if tokens are stored in memory only
	fleet         *redisstore.Store // nil if tokens are stored in memory only
	closeStore    func()
	grpc          *grpc.Server
	http          *http.Server
	console       *console.Console    // nil if there is no console
	consoleHTTP   *http.Server        // nil if there is no console
	requests      *semaphore.Weighted // has a unit less for each HTTP request that Stop waits for

	fixed      config.Config // the settings that a reload does not change
	httpRemote atomic.Bool   // whether other machines can reach the HTTP listener
	// problems are the problems of the configuration if the last reload failed, and nil otherwise.
	problems  atomic.Pointer[[]string]
	loadTime  atomic.Pointer[time.Time] // when the configuration in use was loaded
	serving   atomic.Bool
	stopping  context.Context // context that ends when Stop begins
	beginStop context.CancelFunc
	stopped   context.Context // context that ends when Stop has finished
	endStop   context.CancelFunc
}

// New returns a Server that does not listen yet.
func New(options Options) (*Server, error) {
	options.Logger = cmp.Or(options.Logger, slog.Default())
	options.Clock = cmp.Or[clockwork.Clock](options.Clock, clock.New())
	options.Version = cmp.Or(options.Version, "dev")
	c := options.Config
	s := &Server{
		logger:  options.Logger,
		clock:   options.Clock,
		name:    newReplicaName(),
		version: options.Version,
		fixed:   config.Config{Listen: c.Listen, Limits: c.Limits, Audit: c.Audit, TokenCache: c.TokenCache, Store: c.Store, Console: c.Console, Proxies: c.Proxies},
	}
	s.requests = semaphore.NewWeighted(allRequests)
	s.stopping, s.beginStop = context.WithCancel(context.Background())
	s.stopped, s.endStop = context.WithCancel(context.Background())
	s.observer = observe.New(observe.Options{
		Logger: options.Logger, Clock: options.Clock, Version: options.Version,
		CredentialsOf:    func(tokenKey string) []string { return s.broker.CredentialsOf(tokenKey) },
		StoredVersionsOf: func(tokenKey string) []string { return s.broker.StoredVersionsOf(tokenKey) },
	})
	s.admission = admission.New(c.Limits, s.observer.LimitReached)
	if err := s.openAudit(options.Traces); err != nil {
		return nil, err
	}
	keys := c.TokenCache.FleetKeys
	if keys == nil {
		keys = fleetkeys.RandomRing() // no other broker shares tokens with this process
	}
	s.tokens = s.newCache(keys, options.Traces)
	s.keys = authentication.NewKeyFetcher(authentication.KeyOptions{Clock: s.clock, Logger: s.logger, Changed: func() {
		if s.serving.Load() { // before the server is serving, there are no watches
			s.broker.ProofsChanged()
		}
	}})
	s.refreshTokens.logger = s.logger
	s.tokenClient, s.closeDriver = s.newTokenClient(options), func() {}
	var err error
	if s.broker, err = s.newBroker(options, keys); err != nil {
		s.keys.Close()
		s.tokens.Close()
		s.closeStore()
		_ = s.audit.Close()
		return nil, fmt.Errorf("prepare credentials and callers: %w", err)
	}
	if s.management, err = s.newManagement(options); err == nil {
		err = s.startManagement()
	}
	if err != nil {
		s.broker.Close()
		s.keys.Close()
		s.tokens.Close()
		s.closeStore()
		s.closeDriver()
		_ = s.audit.Close()
		return nil, fmt.Errorf("open the credential store: %w", err)
	}
	s.background.Go(func() { s.broker.KeepWarm(s.stopping) })
	s.background.Go(func() { s.broker.ShareUsage(s.stopping) })
	s.background.Go(s.storeRefreshTokens)
	s.keys.Use(s.broker.Current().Callers.Issuers)
	s.tokens.Follow()
	s.observer.Scrape(s.broker, s.tokens)
	s.observer.ScrapeManagement(s.management)
	service := s.newService(options.Traces)
	s.http = s.newHTTP(service)
	if s.fixed.Console != nil {
		s.console = s.newConsole(service, options)
		s.consoleHTTP = s.newConsoleHTTP(s.console)
	}
	s.grpc = s.newGRPC(service, options.Traces)
	s.loaded(nil)
	if s.fleet != nil {
		s.background.Go(s.announce)
	}
	return s, nil
}

// openAudit opens the audit log, if configured, and limits how many denials are recorded.
func (s *Server) openAudit(traces *observe.Traces) error {
	var log audit.DenialLog // `log` stays nil if no audit records are written
	if s.fixed.Audit.Enabled {
		records := s.observer.AuditRecords()
		options := audit.Options{
			Path:       s.fixed.Audit.Path,
			Output:     os.Stdout,
			BestEffort: s.fixed.Audit.BestEffort,
			Clock:      s.clock,
			Logger:     s.logger,
			Written:    records.WithLabelValues("written"),
			Dropped:    records.WithLabelValues("dropped"),
			Failed:     records.WithLabelValues("failed"),
		}
		if traces != nil {
			options.TraceID = observe.TraceID
		}
		writer, err := audit.Open(options)
		if err != nil {
			return err
		}
		s.audit, log = writer, writer
	}
	s.denials = audit.NewDenials(audit.DenialOptions{
		PerSecond: s.fixed.Limits.DenialsPerSecond,
		Burst:     s.fixed.Limits.DenialBurst,
		Log:       log,
		Clock:     s.clock,
		LeftOut:   func(caller string) { s.observer.LimitReached(admission.DenialsPerSecond, caller) },
	})
	return nil
}

func (s *Server) newBroker(options Options, keys *fleetkeys.Ring) (*broker.Broker, error) {
	brokerOptions := broker.Options{
		Denials:     s.denials,
		Tokens:      s.tokens,
		TokenClient: s.tokenClient,
		Managed:     s.fixed.Store != nil,
		VersionKeys: keys.VersionKeys(),
		Clock:       s.clock,
		Logger:      s.logger,
		Encode:      rpc.Encode,

		StaticReported: s.observer.StaticReported,
		UsageReported:  s.observer.UsageReported,
	}
	if s.fleet != nil {
		brokerOptions.SharedUsage = s.fleet
	}
	if s.audit != nil {
		brokerOptions.Audit = s.audit
	}
	return broker.New(broker.Load{Config: options.Config, Callers: s.newCallers(options.Config)}, brokerOptions)
}

func (s *Server) newService(traces *observe.Traces) *rpc.Service {
	var signInLink func(context.Context, authentication.Evidence) (string, time.Time, error)
	if s.fixed.Console != nil {
		signInLink = s.SignInLink
	}
	return rpc.NewService(rpc.Options{
		Broker:       s.broker,
		Credentials:  rpc.NewCredentials(s.management),
		Admission:    s.admission,
		Clock:        s.clock,
		Waiting:      clock.ForWaiting(s.clock),
		Logger:       s.logger,
		Metrics:      s.observer.Method,
		Ended:        s.observer.CallEnded,
		MessageBytes: s.fixed.Limits.MessageBytes,
		HTTPTraces:   traces.HTTP(),
		LogsAll:      s.logger.Enabled(context.Background(), slog.LevelDebug),
		Reached:      func(limit admission.Limit) { s.observer.LimitReached(limit, "") },
		SignInLink:   signInLink,
		Proxies:      rpc.Proxies(s.fixed.Proxies),
	})
}

// ForgetFailures clears the stored refusals of credentials, so that their next use sends a token
// request to the provider again.
func (s *Server) ForgetFailures(ctx context.Context) error {
	err := s.tokens.ForgetFailures(ctx)
	s.broker.RetryRefused()
	return err
}

// ReopenAudit makes the server open the audit file again before it writes the next record.
func (s *Server) ReopenAudit() { s.audit.Reopen() }
