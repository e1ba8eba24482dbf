// Package egress sends the broker's own requests, and only to where they may go: to
// addresses on the public internet, unless somebody allowed more. It imports nothing of
// ours.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Limits of connections.
const (
	dialTimeout      = 5 * time.Second
	handshakeTimeout = 5 * time.Second
	idleTimeout      = 90 * time.Second
	maxHeaderSize    = 64 << 10 // bytes of an answer's header
)

// The errors of a request that was not sent. They name no address.
var (
	// ErrAddressRefused says that a host has an address that requests may not go to.
	ErrAddressRefused = errors.New("the host has a private, local or special address")
	// ErrNotHTTPS says that a URL is not https, and its host no literal loopback address.
	ErrNotHTTPS = errors.New("the URL is not https")
	// ErrNoHost says that a URL's host is none by IsHost.
	ErrNoHost  = errors.New("the host of the URL is no DNS name and no plain IP address")
	errNoProxy = errors.New("there is no proxy for the request any more")
)

// Options configure a Transport. The zero value is usable.
type Options struct {
	// RootCAs are whom servers' certificates are traced back to. Default: the system's.
	RootCAs *x509.CertPool
	// Proxy says through which proxy a request goes; nil: through none. Default: as the
	// variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY say; a request fails while CheckProxies
	// finds a problem.
	Proxy func(*http.Request) (*url.URL, error)
	// Resolver finds addresses. Default: net.DefaultResolver.
	Resolver *net.Resolver
}

// Transport sends requests. The address of the host is checked when it is dialled, after
// its name was resolved: what a name meant before counts for nothing.
//
// A proxy resolves the host's name itself. Of a request that goes through one, only a
// literal address in the URL is checked. The proxy's own address is not: the operator
// chose it.
type Transport struct {
	proxy    func(*http.Request) (*url.URL, error)
	public   *http.Transport
	anywhere *http.Transport
	proxied  *http.Transport
}

// NewTransport returns a Transport.
func NewTransport(options Options) *Transport {
	if options.Proxy == nil {
		options.Proxy = proxyFromEnvironment
	}
	checked := &net.Dialer{Timeout: dialTimeout, Resolver: options.Resolver, ControlContext: refuseOthers}
	unchecked := &net.Dialer{Timeout: dialTimeout, Resolver: options.Resolver}
	transport := func(dialer *net.Dialer) *http.Transport {
		return &http.Transport{
			DialContext:       dialer.DialContext,
			TLSClientConfig:   &tls.Config{RootCAs: options.RootCAs, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2: true,
			// Of a connection that is kept, net/http prints what comes unasked to standard
			// error, and a provider may send back what it was sent.
			DisableKeepAlives:      true,
			TLSHandshakeTimeout:    handshakeTimeout,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: maxHeaderSize,
		}
	}
	t := &Transport{
		proxy:    options.Proxy,
		public:   transport(checked),
		anywhere: transport(unchecked),
		proxied:  transport(unchecked),
	}
	t.proxied.Proxy = func(request *http.Request) (*url.URL, error) {
		through, err := options.Proxy(request)
		if through == nil && err == nil {
			return nil, errNoProxy // without one, nothing would be checked
		}
		return through, err
	}
	return t
}

// privateKey marks the contexts of requests that may go to private addresses.
type privateKey struct{}

// AllowPrivate returns a context of requests that may go to any address.
func AllowPrivate(ctx context.Context) context.Context {
	return context.WithValue(ctx, privateKey{}, true)
}

// RoundTrip sends a request. The error has ErrAddressRefused in its chain when the host
// has an address that the request may not go to, ErrNotHTTPS when the secrets in it would be
// seen on the way, and ErrNoHost when it is not clear where they would go.
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	transport, err := t.choose(request)
	if err != nil {
		if request.Body != nil {
			_ = request.Body.Close()
		}
		return nil, err
	}
	return transport.RoundTrip(request)
}

func (t *Transport) choose(request *http.Request) (*http.Transport, error) {
	if !IsHost(request.URL.Hostname()) {
		return nil, ErrNoHost
	}
	literal, err := netip.ParseAddr(request.URL.Hostname())
	isLiteral := err == nil
	if isLiteral && literal.Unmap().IsLoopback() {
		return t.anywhere, nil // the definition names this very address
	}
	if request.URL.Scheme != "https" {
		return nil, ErrNotHTTPS
	}
	allowed := request.Context().Value(privateKey{}) != nil
	if isLiteral && !allowed && !isPublic(literal) {
		return nil, ErrAddressRefused
	}
	if through, err := t.proxy(request); through != nil || err != nil {
		return t.proxied, nil // which reports the error
	}
	if allowed {
		return t.anywhere, nil
	}
	return t.public, nil
}

// CloseIdleConnections closes the connections that no request uses.
func (t *Transport) CloseIdleConnections() {
	for _, transport := range []*http.Transport{t.public, t.anywhere, t.proxied} {
		transport.CloseIdleConnections()
	}
}

// refuseOthers fails for addresses that are not public. It is called with each address
// that is about to be dialled.
func refuseOthers(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !isPublic(to.Addr()) {
		return ErrAddressRefused
	}
	return nil
}
