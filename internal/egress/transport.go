// Package egress sends the broker's own requests: token requests, and requests for the keys of
// token issuers. The package sends requests only to addresses on the public internet, unless the
// configuration allows other addresses.
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
	maxHeaderSize    = 64 << 10 // bytes in the header of an answer
)

// The errors of requests that were not sent. The errors do not quote the address.
var (
	// ErrAddressRefused is the error of a request to a host whose address is not public.
	ErrAddressRefused = errors.New(
		"the host has a private, local or special address, and allow_private_addresses is not set")
	// ErrNotHTTPS is the error of a request to a URL whose scheme is not https. Another scheme
	// is allowed if the host of the URL is a literal loopback address.
	ErrNotHTTPS = errors.New("the URL is not https")
	// ErrNoHost is the error of a request to a URL whose host is invalid according to the
	// function IsHost.
	ErrNoHost = errors.New("the host of the URL is neither a DNS name nor a plain IP address")
)

// Options configure a Transport. The zero value is usable.
type Options struct {
	// RootCAs are the certificate authorities that are trusted to sign the certificates of
	// servers. Default: the system's authorities.
	RootCAs *x509.CertPool
	// Proxy returns the proxy for a request. The returned URL is nil if the
	// request needs no proxy. By default, the environment variables HTTPS_PROXY and NO_PROXY
	// determine the proxy. If the function CheckProxies finds a problem in these variables,
	// requests fail.
	Proxy func(*http.Request) (*url.URL, error)
	// Resolver resolves the names of hosts. Default: net.DefaultResolver.
	Resolver *net.Resolver
}

// Transport sends requests. A Transport checks the address of the host at the moment when it
// connects to the host. So it does not matter if the host name resolved to another address
// earlier.
//
// A proxy resolves the host name itself. So for a request through a proxy, the Transport checks
// the address only if the URL contains a literal address. The address of the proxy itself is not
// checked, because the operator chose the proxy.
type Transport struct {
	proxy     func(*http.Request) (*url.URL, error)
	public    *http.Transport // connects only to public addresses
	unchecked *http.Transport // connects to proxies, and to addresses that are allowed without a check
}

// NewTransport returns a Transport with these options.
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

// newTransport returns a transport for which the function `check` is called before each
// connection to an address.
func newTransport(options Options, check func(context.Context, string, string, syscall.RawConn) error) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, Resolver: options.Resolver, ControlContext: check}
	return &http.Transport{
		DialContext:       dialer.DialContext,
		Proxy:             chosenProxy,
		TLSClientConfig:   &tls.Config{RootCAs: options.RootCAs, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
		// If a connection is kept alive, net/http prints unexpected data from the connection to
		// standard error. A provider may send such data, and the data may contain a secret that
		// the provider received.
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

// The types of the keys under which the context of a request stores values.
type (
	privateKey struct{} // if the value is present, the request may go to any address
	proxyKey   struct{} // the value is a *url.URL: the proxy that RoundTrip chose
)

// AllowPrivate returns a context for requests that may go to any address.
func AllowPrivate(ctx context.Context) context.Context {
	return context.WithValue(ctx, privateKey{}, true)
}

func chosenProxy(request *http.Request) (*url.URL, error) {
	proxy, _ := request.Context().Value(proxyKey{}).(*url.URL)
	return proxy, nil
}

// RoundTrip sends a request. If the request may not go to the address of the host, the error
// chain contains ErrAddressRefused. If other parties could read the secrets in the request on
// their way, the error chain contains ErrNotHTTPS. If the host is ambiguous, the error chain
// contains ErrNoHost.
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

// route determines the transport and the proxy for a request. The proxy is nil
// if the request needs no proxy.
func (t *Transport) route(request *http.Request) (*http.Transport, *url.URL, error) {
	host := request.URL.Hostname()
	if !IsHost(host) {
		return nil, nil, ErrNoHost
	}
	literal, _ := netip.ParseAddr(host)
	if literal.Unmap().IsLoopback() {
		return t.unchecked, nil, nil // this literal loopback address is written in the configuration, so it needs no check
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
