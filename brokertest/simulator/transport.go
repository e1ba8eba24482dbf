package simulator

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"

	"github.com/authmaterial/broker/internal/egress"
)

// Addr returns the simulator's address: 127.0.0.1 and a port. With the option [InProcess], the
// address is empty.
func (s *Simulator) Addr() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Transport returns a new HTTP transport that connects to the simulator without a proxy, whatever
// host a request names, and trusts only the simulator's certificate. The transport uses HTTP/1.1
// unless the caller sets ForceAttemptHTTP2. With the option [InProcess], all requests over this
// transport fail.
func (s *Simulator) Transport() *http.Transport {
	var dialer net.Dialer
	config := &tls.Config{RootCAs: s.CAPool(), MinVersion: tls.VersionTLS12}
	config.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if chosen := egress.ClientCertificate(request.Context()); chosen != nil {
			return chosen, nil // the broker's certificate for a token request
		}
		for i := range config.Certificates {
			if request.SupportsCertificate(&config.Certificates[i]) == nil {
				return &config.Certificates[i], nil
			}
		}
		return new(tls.Certificate), nil // none
	}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			if s.listener == nil {
				return nil, errors.New("simulator: with the option InProcess, use RoundTripper instead of Transport")
			}
			if !s.reachable() {
				return nil, errRefused()
			}
			return dialer.DialContext(ctx, network, s.Addr())
		},
		TLSClientConfig: config,
	}
}

// Disconnect makes the simulator unreachable until reconnect is called. [Simulator.Transport] and
// [Simulator.RoundTripper] then report a refused connection. Idle connections are closed, and
// requests that still arrive on an existing connection are not answered. Requests that arrived
// before Disconnect are not affected.
func (s *Simulator) Disconnect() (reconnect func()) {
	s.disconnected.Add(1)
	s.keepAlives(false)
	return sync.OnceFunc(func() {
		if s.disconnected.Add(-1) == 0 {
			s.keepAlives(true)
		}
	})
}

// keepAlives sets whether connections stay open after a request. If keep-alives are off, the server
// closes idle connections.
func (s *Simulator) keepAlives(enabled bool) {
	if s.server != nil {
		s.server.SetKeepAlivesEnabled(enabled)
	}
}

func (s *Simulator) reachable() bool {
	return s.disconnected.Load() == 0 && s.stopped.Err() == nil
}

// errRefused is the error of a dialer if nothing listens on the port.
func errRefused() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// HTTPClient returns a new HTTP client that uses Transport. The client follows no redirects,
// because a client that sends secrets must check the target of a redirect first.
func (s *Simulator) HTTPClient() *http.Client {
	return &http.Client{
		Transport:     s.Transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
