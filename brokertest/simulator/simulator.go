package simulator

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
)

const (
	// ExampleHost is a host on which nothing is served until a test adds a handler.
	ExampleHost = "api.example.test"

	// RedirectHost is the target of [Redirect]. RedirectHost answers every request with a token
	// that no API accepts.
	RedirectHost = "elsewhere.example.test"
)

// Simulator is a running server that simulates the providers. Create one with [New].
type Simulator struct {
	// SendPulse, Pulsedive, Pendo and SpotDraft each have one account.
	SendPulse *SendPulse
	Pulsedive *Pulsedive
	Pendo     *Pendo
	SpotDraft *SpotDraft

	clock       clockwork.Clock
	mux         *http.ServeMux
	certificate *certificate
	secrets     secrets
	defined     definitions
	leaks       leakCounter

	listener     net.Listener // nil with InProcess
	server       *http.Server // nil with InProcess
	disconnected atomic.Int32 // number of calls of Disconnect that are not undone yet
	stopped      context.Context
	close        func() error
}

// New starts a simulator on a free port of the loopback interface. New fails if the simulator
// cannot listen or create its certificates. The caller must close the simulator.
func New(options ...Option) (*Simulator, error) {
	chosen := settings{clock: clockwork.NewRealClock()}
	for _, option := range options {
		option.apply(&chosen)
	}
	certificate, err := newCertificate(slices.Concat(simulatedHosts(), chosen.hosts))
	if err != nil {
		return nil, fmt.Errorf("simulator: create the certificates: %w", err)
	}
	s := &Simulator{clock: chosen.clock, mux: http.NewServeMux(), certificate: certificate}
	stopped, stop := context.WithCancel(context.Background())
	s.stopped, s.close = stopped, func() error { stop(); return nil }

	s.SendPulse = newSendPulse(s)
	s.Pulsedive = newPulsedive(s)
	s.Pendo = newPendo(s)
	s.SpotDraft = newSpotDraft(s)
	s.Handle(RedirectHost+"/", redirectTarget())

	if chosen.inProcess {
		return s, nil
	}
	if err := s.listen(stop); err != nil {
		stop()
		return nil, fmt.Errorf("simulator: listening: %w", err)
	}
	return s, nil
}

func simulatedHosts() []string {
	return slices.Concat(
		[]string{"127.0.0.1", "::1", "localhost", sendPulseHost, pulsediveHost, ExampleHost, RedirectHost},
		pendoHosts(), spotDraftHosts(),
	)
}

// listen starts the server, and makes Close call the function `stop` before it does anything
// else.
func (s *Simulator) listen(stop func()) error {
	var config net.ListenConfig
	listener, err := config.Listen(s.stopped, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.listener = listener
	s.server = &http.Server{
		Handler:           s.Handler(),
		TLSConfig:         s.certificate.serverConfig(),
		ReadHeaderTimeout: 10 * time.Second,
		// The server's log is discarded, because it would report every client that closes its
		// connection early, as tests do on purpose.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.server.ServeTLS(listener, "", "") // returns when closed
	}()
	s.close = sync.OnceValue(func() error {
		stop()
		defer func() { <-served }()
		return s.server.Close()
	})
	return nil
}

// Close stops the simulator. Close closes every connection, and ends every request that hangs or
// whose answer is held back. Further calls of Close do nothing.
func (s *Simulator) Close() error { return s.close() }

// Handle adds an HTTP handler to the simulator, for an API that the test defines. The pattern has
// the form that [http.ServeMux] accepts, and must contain a host: "GET
// api.example.test/v1/things". For a host other than [ExampleHost], create the simulator with
// [WithHosts]. Handle panics if the pattern is malformed or conflicts with an existing pattern.
// If a handler panics, the client sees a closed connection, and nothing is logged.
func (s *Simulator) Handle(pattern string, handler http.Handler) { s.mux.Handle(pattern, handler) }

// Expect adds an API that the test defines, with a pattern as for [Simulator.Handle]. The API
// answers requests that it recognises with status 200 and the body `{}`, and others with status
// 401. If the API shall accept the tokens that an endpoint from [Simulator.HandleTokens] issues,
// pass the endpoint's method [TokenEndpoint.Accepts].
func (s *Simulator) Expect(pattern string, recognises func(*http.Request) bool) *API {
	api := new(API)
	s.Handle(pattern, api.handler(func(r *http.Request) (answer, bool) {
		if !recognises(r) {
			return jsonAnswer(http.StatusUnauthorized, fields{"error": "unauthorized"}), false
		}
		return jsonAnswer(http.StatusOK, fields{}), true
	}))
	return api
}

// Handler returns the HTTP handler that serves all simulated hosts. The handler selects the
// provider by the Host of the request.
func (s *Simulator) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.reachable() {
			panic(http.ErrAbortHandler)
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.stopped, cancel)()
		s.leaks.inspect(r, &s.secrets)
		s.serve(w, r.WithContext(ctx))
	})
}

// Secrets returns every secret that the simulator has created so far, none of which may appear in
// a log, an error or a metric: the secrets of its accounts, including replaced ones, and the
// tokens that it issued.
func (s *Simulator) Secrets() []string { return s.secrets.all() }

// Leaks returns the counts of requests that should not have been sent.
func (s *Simulator) Leaks() Leaks { return s.leaks.count() }
