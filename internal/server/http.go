package server

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes is how many requests for metrics are answered at once. Others get a 503.
const maxScrapes = 10

// newHTTP returns the server of what an operator looks at.
func (s *Server) newHTTP(metrics *metrics) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.identified(promhttp.HandlerFor(metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", s.readyz)
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    s.limits.HeaderBytes,
		// What clients do wrong, such as handshakes that fail.
		ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
		BaseContext: func(listener net.Listener) context.Context {
			return context.WithValue(context.Background(), remoteKey{}, isRemote(listener.Addr()))
		},
	}
}

// readyz reports whether calls are answered, and to those who may know what is not well.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if !s.ready.Load() {
		answer(w, http.StatusServiceUnavailable, "not serving")
		return
	}
	detail := []string{"ok"}
	if s.stale.Load() {
		detail = append(detail, "configuration: the last one read has problems, and the one before is served; the log says which")
	}
	if s.shared.degraded.Load() {
		detail = append(detail, "token cache: degraded; Redis is out of reach, and this replica obtains tokens for itself")
	}
	if len(detail) > 1 && isFromAnywhere(r) && (!bringsEvidence(r) || s.identify(r) != nil) {
		detail = detail[:1]
	}
	answer(w, http.StatusOK, strings.Join(detail, "\n"))
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") //nolint:gosec // plain text, of our own words
}
