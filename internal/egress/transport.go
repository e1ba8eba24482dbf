// Package egress sends the requests that the broker makes itself: token requests, and requests
// for the keys of token issuers. It sends them only to addresses on the public internet, unless
// the configuration allows other addresses.
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

// The errors of requests that were not sent. They quote no address.
var (
	// ErrAddressRefused is the error for a host whose address is not public.
	ErrAddressRefused = errors.New(
		"the host has a private, local or special address, and allow_private_addresses is not set")
	// ErrNotHTTPS is the error for a URL whose scheme is not https. URLs with a literal loopback
	// address as their host may have another scheme.
	ErrNotHTTPS = errors.New("the URL is not https")
	// ErrNoHost is the error for a URL whose host is invalid according to IsHost.
	ErrNoHost = errors.New("the host of the URL is neither a DNS name nor a plain IP address")
)

// Options configure a Transport. The zero value is usable.
type Options struct {
	// RootCAs are the authorities that may sign servers' certificates. Default: the system's
	// authorities.
	RootCAs *x509.CertPool
	// Proxy returns the proxy for a request, or nil for no proxy. Default: the environment
	// variables HTTPS_PROXY and NO_PROXY name the proxy. If CheckProxies finds a problem in the
	// variables, requests fail.
	Proxy func(*http.Request) (*url.URL, error)
	// Resolver resolves host names. Default: net.DefaultResolver.
	Resolver *net.Resolver
}

// Transport sends requests. It checks the address of the host when it connects. So an earlier,
// different result of resolving the host name has no effect.
//
// A proxy resolves the host's name itself. For a request through a proxy, only a literal address
// in the URL is checked. The proxy's own address is not checked, because the operator chose the
// proxy.
type Transport struct {
	proxy     func(*http.Request) (*url.URL, error)
	public    *http.Transport // connects only to public addresses
	unchecked *http.Transport // connects to proxies, and to addresses that are allowed without a check
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

// newTransport returns a transport that calls the function check before it connects to an
// address.
func newTransport(options Options, check func(context.Context, string, string, syscall.RawConn) error) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, Resolver: options.Resolver, ControlContext: check}
	return &http.Transport{
		DialContext:       dialer.DialContext,
		Proxy:             chosenProxy,
		TLSClientConfig:   &tls.Config{RootCAs: options.RootCAs, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
		// net/http prints unexpected data from a kept-alive connection to standard error, and a
		// provider may send back a secret that it received.
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

// The keys of values in the context of a request.
type (
	privateKey struct{} // present: the request may go to any address
	proxyKey   struct{} // the proxy that RoundTrip chose; the value is a *url.URL
)

// AllowPrivate returns a context whose requests may go to any address.
func AllowPrivate(ctx context.Context) context.Context {
	return context.WithValue(ctx, privateKey{}, true)
}

func chosenProxy(request *http.Request) (*url.URL, error) {
	proxy, _ := request.Context().Value(proxyKey{}).(*url.URL)
	return proxy, nil
}

// RoundTrip sends a request. The error chain contains ErrAddressRefused if the request may not
// go to the host's address. It contains ErrNotHTTPS if others could read the request's secrets
// on the way, and ErrNoHost if the host is ambiguous.
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

// route returns the transport and the proxy for a request. The proxy is nil if none is used.
func (t *Transport) route(request *http.Request) (*http.Transport, *url.URL, error) {
	host := request.URL.Hostname()
	if !IsHost(host) {
		return nil, nil, ErrNoHost
	}
	literal, _ := netip.ParseAddr(host)
	if literal.Unmap().IsLoopback() {
		return t.unchecked, nil, nil // the configuration itself contains this loopback address
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
