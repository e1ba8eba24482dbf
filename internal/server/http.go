package server

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/rpc"
)

var errNobody = fault.New(fault.CallerUnauthenticated, "no accepted token or client certificate was sent")

// newHTTP returns the HTTP server for metrics, health and the management of credentials.
func (s *Server) newHTTP(service *rpc.Service) *http.Server {
	mux := http.NewServeMux()
	management := s.awaited(s.managementHTTP(service))
	mux.Handle("POST /"+authmaterialv1.CredentialService_ServiceDesc.ServiceName+"/", management)
	mux.Handle("POST /"+authmaterialv1.ProviderService_ServiceDesc.ServiceName+"/", management)
	if s.fixed.Proxies.Nginx {
		mux.Handle("GET "+rpc.NginxPath, s.awaited(s.nginxHTTP(service)))
	}
	mux.Handle("GET /metrics", s.identified(s.observer.Metrics()))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", s.readyz)
	return &http.Server{
		Handler:           mux,
		ConnContext:       withUser,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    s.fixed.Limits.HeaderBytes,
		// ErrorLog receives errors that clients cause, such as failed handshakes.
		ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
}

// nginxHTTP returns the handler for nginx's auth_request.
func (s *Server) nginxHTTP(service *rpc.Service) http.Handler {
	inner := service.Nginx()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.ready() {
			answer(w, http.StatusServiceUnavailable, "not serving")
			return
		}
		inner.ServeHTTP(w, r.WithContext(s.withPeer(r)))
	})
}

// ready reports whether the server answers calls.
func (s *Server) ready() bool { return s.serving.Load() && s.stopping.Err() == nil }

// readyz reports whether the server answers calls, and lists problems that do not prevent calls. If
// other machines can reach the listener, only authenticated callers receive the list.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if !s.ready() {
		answer(w, http.StatusServiceUnavailable, "not serving")
		return
	}
	if _, read := s.management.Staleness(); s.fixed.Store != nil && !read {
		answer(w, http.StatusServiceUnavailable, "the credential store has not been read yet")
		return
	}
	detail := []string{"ok"}
	if s.problems.Load() != nil {
		detail = append(detail, "configuration: it has problems, which the log lists; the previous one stays in use")
	}
	if s.redis != nil && s.redis.OutOfReach.Load() {
		detail = append(detail, "token cache: degraded: Redis is out of reach; this replica obtains tokens for itself")
	}
	// A health probe with neither a token nor a client certificate does not count as a failed
	// authentication.
	if len(detail) > 1 && s.httpRemote.Load() && (!bringsEvidence(r) || s.identify(r) != nil) {
		detail = detail[:1]
	}
	answer(w, http.StatusOK, strings.Join(detail, "\n"))
}

// identified returns a handler that answers authenticated callers only, or every caller if other
// machines cannot reach the listener. The client's address does not matter, because a proxy on this
// machine may forward requests of other machines.
func (s *Server) identified(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		if s.httpRemote.Load() {
			err = s.identify(r)
		}
		switch known := fault.From(err); {
		case err == nil:
			inner.ServeHTTP(w, r)
		case known.Reason == fault.AuthenticationUnavailable:
			answer(w, http.StatusServiceUnavailable, known.Message)
		default:
			w.Header().Set("WWW-Authenticate", "Bearer")
			answer(w, http.StatusUnauthorized, known.Message)
		}
	})
}

// identify returns an error if the caller of a request cannot be identified. If
// insecure_allow_remote is set without authentication, every caller counts as identified.
func (s *Server) identify(r *http.Request) error {
	caller, err := s.broker.Current().Callers.Identify(context.WithoutCancel(r.Context()), rpc.EvidenceOf(s.withPeer(r)))
	if err == nil && caller.Method == authentication.MethodNone && !s.fixed.Listen.InsecureAllowRemote {
		return errNobody
	}
	return err
}

func bringsEvidence(r *http.Request) bool {
	return r.Header.Get("Authorization") != "" || r.TLS != nil && len(r.TLS.PeerCertificates) > 0
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") //nolint:gosec // the broker's own plain text
}
