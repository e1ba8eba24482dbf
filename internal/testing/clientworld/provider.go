package clientworld

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

const maxBody = 1 << 20

// provider is a scripted HTTP server, whose answers and requests are guarded by the board.
type provider struct {
	name    string
	board   *board
	port    string
	server  *http.Server
	expand  func(text string) string // replaces the placeholders of the world
	serve   func(map[string]state)   // has the broker serve states
	replies []reply
	// received has the requests of the current step.
	received []request
}

// request is a request that a provider received.
type request struct {
	at      string
	scheme  string
	method  string
	target  string
	host    string
	headers http.Header
	body    string
}

func (r request) String() string {
	return fmt.Sprintf("%s: %s %s://%s%s %v body %q", r.at, r.method, r.scheme, r.host, r.target, r.headers, r.body)
}

// newProvider starts a provider on 127.0.0.1, which also accepts TLS if `config` is not nil.
func newProvider(b *board, name string, config *tls.Config, w *world) (*provider, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &provider{name: name, board: b, expand: w.expand, serve: w.serve}
	_, p.port, _ = net.SplitHostPort(listener.Addr().String())
	p.server = &http.Server{
		Handler: p, ReadHeaderTimeout: patience, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
	}
	if config != nil {
		listener = newMixedListener(listener, config)
	}
	go func() { _ = p.server.Serve(listener) }()
	return p, nil
}

// ServeHTTP implements http.Handler.
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
	received := request{
		at: p.name, scheme: "http", method: r.Method, target: r.RequestURI, host: r.Host, headers: r.Header, body: string(body),
	}
	if r.TLS != nil {
		received.scheme = "https"
	}
	var next reply
	var number int
	p.board.update(func() {
		p.received = append(p.received, received)
		number = len(p.received)
		next = p.nextReply()
	})
	if next.Gather > 0 && !p.board.await(r.Context(), patience, func() bool { return len(p.received) >= next.Gather }) {
		http.Error(w, fmt.Sprintf("only %d requests arrived, want %d at the same time", number, next.Gather), http.StatusTeapot)
		return
	}
	p.serve(next.Serve)
	time.Sleep(next.Delay.Duration)
	if next.HangUp {
		panic(http.ErrAbortHandler)
	}
	p.answer(w, r, next)
}

// nextReply returns the reply to the next request. The caller holds the board's lock.
func (p *provider) nextReply() reply {
	if len(p.replies) == 0 {
		return reply{}
	}
	next := p.replies[0]
	if p.replies[0].Count--; p.replies[0].Count <= 0 {
		p.replies = p.replies[1:]
	}
	return next
}

func (p *provider) answer(w http.ResponseWriter, r *http.Request, next reply) {
	for _, header := range next.Headers {
		w.Header().Add(header[0], header[1])
	}
	if next.Location != "" {
		w.Header().Set("Location", strings.ReplaceAll(p.expand(next.Location), "{query}", r.URL.RawQuery))
	}
	pieces := next.Pieces
	switch {
	case next.Body != nil:
		pieces = []string{padded(*next.Body, next.Pad)}
	case pieces == nil:
		pieces = []string{"ok"}
	}
	status := http.StatusOK
	if next.Status != 0 {
		status = next.Status
	}
	w.WriteHeader(status)
	for i, piece := range pieces {
		if i > 0 {
			_ = http.NewResponseController(w).Flush()
			time.Sleep(next.Pause.Duration)
		}
		_, _ = io.WriteString(w, piece)
	}
	if next.Cut {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// padded adds spaces to a text, so that it has at least `size` bytes.
func padded(text string, size int) string { return text + strings.Repeat(" ", max(size-len(text), 0)) }
