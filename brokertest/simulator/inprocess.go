package simulator

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/authmaterial/broker/internal/egress"
)

// RoundTripper returns a transport that calls the simulator in process, without network and TLS.
// Each request runs in a goroutine, which ends when the client has read the response to its end,
// or has closed it; every client must do one of the two. The transport refuses http URLs, as
// [Simulator.Transport] does.
func (s *Simulator) RoundTripper() http.RoundTripper { return inProcess{s} }

type inProcess struct{ simulator *Simulator }

func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	received, err := t.receive(r.Clone(ctx))
	if err != nil {
		cancel()
		return nil, errors.Join(err, received.Body.Close())
	}
	reader, writer := io.Pipe()
	sent := &exchange{header: make(http.Header), body: writer, started: make(chan struct{})}
	context.AfterFunc(ctx, func() { sent.end(ctx.Err()) })
	go func() {
		defer func() { _ = received.Body.Close() }()
		sent.run(t.simulator.Handler(), received)
	}()

	<-sent.started
	if sent.err != nil {
		cancel()
		return nil, sent.err
	}
	return sent.response(r, cancelOnClose{reader, cancel}), nil
}

// receive converts a client's request into the form that a server receives, with a body that is
// never nil.
func (t inProcess) receive(r *http.Request) (*http.Request, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	if r.URL.Scheme != "https" {
		return r, errors.New("simulator: use an https URL")
	}
	if !t.simulator.reachable() {
		return r, errRefused()
	}
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	r.RequestURI = r.URL.RequestURI()
	r.URL = &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	r.RemoteAddr = "127.0.0.1:0"
	r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
	if chosen := egress.ClientCertificate(r.Context()); chosen != nil {
		r.TLS.PeerCertificates = []*x509.Certificate{chosen.Leaf}
	}
	return r, nil
}

// exchange is the http.ResponseWriter of one in-process request, whose client reads the body from
// a pipe.
type exchange struct {
	header http.Header // the handler's
	body   *io.PipeWriter

	once    sync.Once
	started chan struct{} // a channel that is closed when the following fields are set
	err     error         // the error if the handler sent no response
	status  int
	sent    http.Header
}

func (e *exchange) Header() http.Header { return e.header }

func (e *exchange) WriteHeader(status int) {
	e.once.Do(func() {
		e.status, e.sent = status, e.header.Clone()
		close(e.started)
	})
}

func (e *exchange) Write(p []byte) (int, error) {
	e.WriteHeader(http.StatusOK)
	return e.body.Write(p)
}

// Flush sends the response's header. The body is never buffered.
func (e *exchange) Flush() { e.WriteHeader(http.StatusOK) }

// end finishes the response with an error. If the response has not begun, the client receives only
// the error.
func (e *exchange) end(err error) {
	e.once.Do(func() {
		e.err = err
		close(e.started)
	})
	_ = e.body.CloseWithError(err) // a pipe keeps only the first error
}

// run calls the handler as a server would: if the handler aborts, the connection is closed.
func (e *exchange) run(handler http.Handler, r *http.Request) {
	defer func() {
		switch cause := recover(); cause {
		case nil:
		case http.ErrAbortHandler:
			// If the client cancelled the request, it gets the error of its context.
			e.end(cmp.Or(r.Context().Err(), io.ErrUnexpectedEOF))
		default:
			panic(cause)
		}
	}()
	handler.ServeHTTP(e, r)
	e.WriteHeader(http.StatusOK)
	e.end(io.EOF)
}

func (e *exchange) response(r *http.Request, body io.ReadCloser) *http.Response {
	length, err := strconv.ParseInt(e.sent.Get("Content-Length"), 10, 64)
	if err != nil {
		length = -1 // unknown
	}
	return &http.Response{
		Status:     strconv.Itoa(e.status) + " " + http.StatusText(e.status),
		StatusCode: e.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        e.sent,
		Body:          body,
		ContentLength: length,
		Request:       r,
	}
}

// cancelOnClose is a response body that ends the request when the client closes it.
type cancelOnClose struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (c cancelOnClose) Close() error {
	c.cancel()
	return c.PipeReader.Close()
}
