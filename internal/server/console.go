package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/console"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/rpc"
)

// newConsole returns the console, which calls the service as the people who have signed in.
func (s *Server) newConsole(service *rpc.Service, options Options) *console.Console {
	credentials, providers := service.Local()
	var log audit.Log // `log` stays nil if no audit records are written
	if s.audit != nil {
		log = s.audit
	}
	return console.New(console.Options{
		Config:       s.fixed.Console,
		Listen:       s.fixed.Listen,
		API:          console.API{CredentialServiceClient: credentials, Providers: providers, Watch: service.WatchStates},
		WithEvidence: rpc.WithEvidence,
		Identify: func(ctx context.Context, evidence authentication.Evidence) (access.Caller, error) {
			return s.broker.Current().Callers.Identify(ctx, evidence)
		},
		MayAdd: func(caller access.Caller) bool {
			current := s.broker.Current().Config
			return current.Store != nil && current.Policy.MayCreate(&caller)
		},
		Audit:    log,
		Denials:  s.denials,
		HasStore: func() bool { return s.broker.Current().Config.Store != nil },
		MayOperate: func(caller access.Caller) bool {
			return s.broker.Current().Config.Policy.Decide(&caller, access.Operate, access.Object{}).Allowed
		},
		// A proxy on this machine may add TLS.
		Secure: s.hasTLS() || strings.HasPrefix(s.fixed.Console.URL, "https://"),
		OpenIDTransport: func(issuer config.OpenID) http.RoundTripper {
			if options.OpenIDTransport != nil {
				return options.OpenIDTransport
			}
			return openIDTransport{egress.NewTransport(egress.Options{RootCAs: issuer.RootCAs}), issuer.AllowPrivate}
		},
		Clock:    s.clock,
		Logger:   s.logger,
		Stopping: s.stopping,
	})
}

// openIDTransport sends requests to an OpenID Connect issuer.
type openIDTransport struct {
	*egress.Transport

	allowPrivate bool
}

// RoundTrip implements http.RoundTripper.
func (t openIDTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if t.allowPrivate {
		request = request.WithContext(egress.AllowPrivate(request.Context()))
	}
	return t.Transport.RoundTrip(request)
}

// newConsoleHTTP returns the HTTP server of the console.
func (s *Server) newConsoleHTTP(pages http.Handler) *http.Server {
	return &http.Server{
		Handler:           s.awaited(pages),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute, // the stream of states has deadlines of its own
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    s.fixed.Limits.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
}

// ListenConsole opens the listener of the console. Sign-in links then contain the port of this listener.
// ListenConsole returns nil if there is no console.
func (s *Server) ListenConsole(ctx context.Context) (net.Listener, error) {
	if s.fixed.Console == nil {
		return nil, nil //nolint:nilnil // there is nothing to listen for
	}
	listener, err := Listen(ctx, s.fixed.Console.Address, s.fixed.Listen.SocketMode)
	if err == nil {
		s.console.ListensAt(listener.Addr())
	}
	return listener, err
}

// ServeConsole serves the console on the listener until Stop, and closes the listener.
func (s *Server) ServeConsole(listener net.Listener) error {
	limited := s.admission.HTTPListener(listener)
	if s.hasTLS() {
		limited = tls.NewListener(limited, s.consoleTLS())
	}
	err := s.consoleHTTP.Serve(limited)
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// consoleTLS returns the TLS settings of the console. The console does not request client
// certificates, because browsers would ask people to choose one, and the console would not use it.
func (s *Server) consoleTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, // GetConfigForClient replaces this setting for each connection
		NextProtos: []string{protocolHTTP},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			made := connectionTLS(s.broker.Current().Config.Listen.TLS, protocolHTTP)
			made.ClientAuth, made.ClientCAs, made.VerifyConnection = tls.NoClientCert, nil, nil
			return made, nil
		},
	}
}

// ConsoleURL returns the address that people type, without a slash at the end. The Server must have a
// console.
func (s *Server) ConsoleURL() string { return s.console.URL() }

// SignInLink returns a link that signs in one person, once, as the caller with this evidence, and the
// time until which the link can be used. The Server must have a console, and the evidence must be that
// of a caller at a private socket.
func (s *Server) SignInLink(ctx context.Context, evidence authentication.Evidence) (link string, expires time.Time, err error) {
	return s.console.SignInLink(ctx, evidence)
}
