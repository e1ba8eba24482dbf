// Package egress sends the broker's own requests: those for tokens, and those for the keys of
// token issuers. It sends them only to addresses on the public internet, unless the configuration
// allows others.
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
	maxHeaderSize    = 64 << 10 // bytes of an answer's header
)

// The errors of a request that was not sent. They quote no address.
var (
	// ErrAddressRefused is the error for a host at an address that is not public.
	ErrAddressRefused = errors.New(
		"the host has a private, local or special address, and allow_private_addresses is not set")
	// ErrNotHTTPS is the error for a URL that is not https, and whose host is not a literal
	// loopback address.
	ErrNotHTTPS = errors.New("the URL is not https")
	// ErrNoHost is the error for a URL whose host is not valid by IsHost.
	ErrNoHost = errors.New("the host of the URL is neither a DNS name nor a plain IP address")
)

// Options configure a Transport. The zero value is usable.
type Options struct {
	// RootCAs are the authorities that may sign servers' certificates. Default: the system's.
	RootCAs *x509.CertPool
	// Proxy returns the proxy for a request, or nil for none. Default: the variables
	// HTTPS_PROXY and NO_PROXY decide; a request fails while CheckProxies finds a problem.
	Proxy func(*http.Request) (*url.URL, error)
	// Resolver finds addresses. Default: net.DefaultResolver.
	Resolver *net.Resolver
}

// Transport sends requests. It checks the address of the host when it connects, after the name
// was resolved: what the name resolved to before does not count.
//
// A proxy resolves the host's name itself. For a request through a proxy, only a literal address
// in the URL is checked. The proxy's own address is not: the operator chose it.
type Transport struct {
	proxy     func(*http.Request) (*url.URL, error)
	public    *http.Transport // connects to public addresses alone
	unchecked *http.Transport // connects to proxies, and to any address that is allowed
}

// NewTransport returns a Transport.
func NewTransport(options Options) *Transport {
	if options.Proxy == nil {
		options.Proxy = proxyFromEnvironment
	}
	return &Transport{
		proxy:     options.Proxy,
		public:    newTransport(options, refusePrivate),
		unchecked: newTransport(options, nil),
	}
}

// newTransport returns a transport that calls check before it connects to an address.
func newTransport(options Options, check func(context.Context, string, string, syscall.RawConn) error) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, Resolver: options.Resolver, ControlContext: check}
	return &http.Transport{
		DialContext:       dialer.DialContext,
		Proxy:             chosenProxy,
		TLSClientConfig:   &tls.Config{RootCAs: options.RootCAs, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
		// net/http prints unexpected data on a connection that is kept alive to standard error,
		// and a provider may send back a secret that it received.
		DisableKeepAlives:      true,
		TLSHandshakeTimeout:    handshakeTimeout,
		MaxResponseHeaderBytes: maxHeaderSize,
	}
}

func refusePrivate(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !isPublic(to.Addr()) {
		return ErrAddressRefused
	}
	return nil
}

// The keys of values in a request's context.
type (
	privateKey struct{} // present: the request may go to any address
	proxyKey   struct{} // the proxy that RoundTrip chose, a *url.URL
)

// AllowPrivate returns a context of requests that may go to any address.
func AllowPrivate(ctx context.Context) context.Context {
	return context.WithValue(ctx, privateKey{}, true)
}

func chosenProxy(request *http.Request) (*url.URL, error) {
	proxy, _ := request.Context().Value(proxyKey{}).(*url.URL)
	return proxy, nil
}

// RoundTrip sends a request. The error has ErrAddressRefused in its chain when the host has an
// address that the request may not go to, ErrNotHTTPS when its secrets would be readable on the
// way, and ErrNoHost when it is not clear where the request would go.
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	transport, proxy, err := t.route(request)
	if err != nil {
		if request.Body != nil {
			_ = request.Body.Close()
		}
		return nil, err
	}
	return transport.RoundTrip(request.WithContext(context.WithValue(request.Context(), proxyKey{}, proxy)))
}

// route returns the transport and the proxy for a request. The proxy is nil for none.
func (t *Transport) route(request *http.Request) (*http.Transport, *url.URL, error) {
	host := request.URL.Hostname()
	if !IsHost(host) {
		return nil, nil, ErrNoHost
	}
	literal, _ := netip.ParseAddr(host)
	if literal.Unmap().IsLoopback() {
		return t.unchecked, nil, nil // the configuration names this very address
	}
	if request.URL.Scheme != "https" {
		return nil, nil, ErrNotHTTPS
	}
	allowed := request.Context().Value(privateKey{}) != nil
	if literal.IsValid() && !allowed && !isPublic(literal) {
		return nil, nil, ErrAddressRefused
	}
	proxy, err := t.proxy(request)
	if proxy != nil || allowed {
		return t.unchecked, proxy, err
	}
	return t.public, nil, err
}
