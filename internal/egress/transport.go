// Package egress sends the broker's own requests: token requests, and requests for the keys of
// token issuers. Requests go only to addresses on the public internet, unless the configuration
// allows other addresses.
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

const (
	dialTimeout      = 5 * time.Second
	handshakeTimeout = 5 * time.Second
	maxHeaderSize    = 64 << 10 // size limit for the header of an answer, in bytes
)

// These errors of requests that were not sent do not quote the address.
var (
	// ErrAddressRefused is the error of a request to a host whose address is not public.
	ErrAddressRefused = errors.New(
		"the host has a private, local or special address, and allow_private_addresses is not set")
	// ErrNotHTTPS is the error of a request to a URL whose scheme is not https, unless the host is
	// a literal loopback address.
	ErrNotHTTPS = errors.New("the URL is not https")
	// ErrNoHost is the error of a request to a URL whose host is invalid according to IsHost.
	ErrNoHost = errors.New("the host of the URL is neither a DNS name nor a plain IP address")
)

// Options configure a Transport. The zero value is usable.
type Options struct {
	// RootCAs verify the certificates of servers. By default, RootCAs are the system's trusted
	// authorities.
	RootCAs *x509.CertPool
	// Proxy returns the proxy for a request, or nil. By default, the environment variables
	// HTTPS_PROXY and NO_PROXY determine the proxy, and requests fail if CheckProxies finds a
	// problem.
	Proxy func(*http.Request) (*url.URL, error)
	// Resolver resolves host names. By default, Resolver is net.DefaultResolver.
	Resolver *net.Resolver
}

// Transport sends requests. A Transport checks the address of a host when it connects to the host,
// so earlier results of a DNS look-up do not matter.
//
// A proxy resolves host names itself. Therefore, the Transport checks the host of a request through
// a proxy only if the URL contains a literal address. The address of the proxy is not checked,
// because the operator chose the proxy.
type Transport struct {
	proxy     func(*http.Request) (*url.URL, error)
	public    *http.Transport // the transport that connects only to public addresses
	unchecked *http.Transport // the transport for proxies, and for addresses that need no check
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

// newTransport returns a transport that calls `check` before it connects to an address.
func newTransport(options Options, check func(context.Context, string, string, syscall.RawConn) error) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, Resolver: options.Resolver, ControlContext: check}
	return &http.Transport{
		DialContext:       dialer.DialContext,
		Proxy:             chosenProxy,
		TLSClientConfig:   &tls.Config{RootCAs: options.RootCAs, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
		// On a connection that is kept alive, net/http prints unexpected data to standard error,
		// and a provider could send a secret as such data.
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

// These types are keys of the values in a request's context.
type (
	privateKey struct{} // set if the request may go to any address
	proxyKey   struct{} // the value is the *url.URL of the proxy that RoundTrip chose
	clientKey  struct{} // the value is the *tls.Certificate to present to the server
)

// WithClientCertificate returns a context for requests that present a certificate to the server.
func WithClientCertificate(ctx context.Context, certificate *tls.Certificate) context.Context {
	return context.WithValue(ctx, clientKey{}, certificate)
}

// ClientCertificate returns the certificate of a context from WithClientCertificate, or nil.
func ClientCertificate(ctx context.Context) *tls.Certificate {
	certificate, _ := ctx.Value(clientKey{}).(*tls.Certificate)
	return certificate
}

// AllowPrivate returns a context for requests that may go to any address.
func AllowPrivate(ctx context.Context) context.Context {
	return context.WithValue(ctx, privateKey{}, true)
}

func chosenProxy(request *http.Request) (*url.URL, error) {
	proxy, _ := request.Context().Value(proxyKey{}).(*url.URL)
	return proxy, nil
}

// RoundTrip sends a request. The error chain contains ErrAddressRefused if the request may not go
// to the host's address, ErrNotHTTPS if others could read the secrets in the request on the way,
// and ErrNoHost if the host is ambiguous.
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	transport, proxy, err := t.route(request)
	if err != nil {
		if request.Body != nil {
			_ = request.Body.Close()
		}
		return nil, err
	}
	if certificate := ClientCertificate(request.Context()); certificate != nil {
		// No connection outlives its request, so the copy leaves nothing behind.
		transport = transport.Clone()
		if proxy != nil && proxy.Scheme == "https" { // the proxy may ask for a certificate of other authorities
			transport.TLSClientConfig.Certificates = []tls.Certificate{*certificate}
		} else { // also for a server that names only the root of the certificate's chain
			transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
		}
	}
	return transport.RoundTrip(request.WithContext(context.WithValue(request.Context(), proxyKey{}, proxy)))
}

func (t *Transport) route(request *http.Request) (*http.Transport, *url.URL, error) {
	host := request.URL.Hostname()
	if !IsHost(host) {
		return nil, nil, ErrNoHost
	}
	literal, _ := netip.ParseAddr(host)
	if literal.Unmap().IsLoopback() {
		return t.unchecked, nil, nil // a literal loopback address comes from the configuration, so it needs no check
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
