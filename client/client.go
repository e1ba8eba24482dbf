// Package client adds the broker's material to the HTTP requests of Go services. A Client keeps a
// copy of the material of each credential up to date, so that a request normally needs no call to
// the broker. docs/client-behaviour.md has the rules that Client.HTTPClient and Client.Transport
// follow. Code that calls Apply must follow the rules of docs/calling.md itself.
//
// The package imports the generated stubs, gRPC, golang.org/x/oauth2, the standard library and two
// small packages of the broker for reading files.
package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// Client adds the broker's material to HTTP requests. A Client is safe for concurrent use. A
// program needs one Client for each connection to a broker.
type Client struct {
	broker authmaterialv1.BrokerServiceClient
	// connectNow ends the delay before the connection's next attempt to connect.
	connectNow func()
	now        func() time.Time

	running context.Context //nolint:containedctx // ends when the client is closed
	stop    context.CancelFunc
	tasks   sync.WaitGroup // the streams and calls

	// mu guards the fields below, and the fields of credential, stream and usage that are not
	// atomic. A request takes mu only if its copy of the material cannot be used as it is, and once
	// a minute to record the use.
	mu          sync.Mutex
	closed      bool
	credentials map[string]*credential
	unwatched   []*credential // the credentials for which a stream will be opened
	streams     []*stream
	usage       usage
}

// Option changes a Client that New creates.
type Option interface{ apply(*Client) }

type optionFunc func(*Client)

func (f optionFunc) apply(c *Client) { f(c) }

// WithClock sets the clock by which the client decides how long it uses material, for tests with a
// simulated clock. The function must be safe for concurrent use. The default is time.Now. Timeouts
// and pauses between attempts use the real clock in any case.
func WithClock(now func() time.Time) Option {
	return optionFunc(func(c *Client) { c.now = now })
}

// New returns a Client that calls the broker over a gRPC connection, usually a *grpc.ClientConn.
// New makes no call. The caller of New must call Close when the client is no longer needed, and
// then close the connection.
//
// While a broker is down, the client tries to connect again at least every 41 seconds. If the
// connection has the method ResetConnectBackoff, as a *grpc.ClientConn has, gRPC's own delays, which
// grow to 2 minutes, do not prevent that. But gRPC looks up a host name that could not be resolved
// only at the times of its own delays.
//
// If the network loses a connection silently, calls and streams on it can hang for minutes. Give the
// connection keepalive pings, as the example does, so that gRPC makes a new connection after 40
// seconds. The broker allows a ping every 10 seconds.
func New(connection grpc.ClientConnInterface, options ...Option) *Client {
	c := &Client{
		broker:      authmaterialv1.NewBrokerServiceClient(connection),
		connectNow:  func() {},
		now:         time.Now,
		credentials: map[string]*credential{},
	}
	if delayed, ok := connection.(interface{ ResetConnectBackoff() }); ok {
		c.connectNow = delayed.ResetConnectBackoff
	}
	c.running, c.stop = context.WithCancel(context.Background())
	for _, option := range options {
		option.apply(c)
	}
	return c
}

// Close ends the client's streams and calls, and reports the last uses of versions to the broker,
// for which it waits up to 2 seconds. Requests after Close fail. Close does not close the
// connection.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	for _, credential := range c.credentials {
		credential.copy.Store(nil)
	}
	c.mu.Unlock()
	c.stop()
	c.tasks.Wait()
	c.reportLastUses()
}

// Format implements fmt.Formatter. It writes a fixed text, because the fields of a Client lead to
// secrets.
func (c *Client) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "client.Client") }

// HTTPClient returns an http.Client that adds the material of a credential to its requests, as
// Transport describes.
func (c *Client) HTTPClient(credentialID string) *http.Client {
	return &http.Client{Transport: c.Transport(credentialID, nil)}
}

// Transport returns an http.RoundTripper that adds the material of a credential to each request,
// and sends the request with `base`, or with http.DefaultTransport if `base` is nil.
//
//   - The RoundTripper keeps a copy of the material, which the broker updates by a stream, and uses
//     it until the material expires, also while the broker cannot be reached. If there is no copy
//     that can be used, the request waits for a call to the broker. If that call fails, the request
//     fails with an Error.
//   - The RoundTripper rejects requests to hosts that are not allowed, and requests without https,
//     as Apply does. If an http.Client follows a redirect to such a URL, the RoundTripper sends
//     that request without the material.
//   - If the provider rejects the material, the RoundTripper reports it once. If the broker has then
//     replaced the material, and the request has no body or has its field GetBody set, the
//     RoundTripper sends the request once more. If the RoundTripper does not send the request again,
//     it returns the provider's answer.
//
// The RoundTripper does not change the caller's request, which is also the field Request of the
// response. If a response has a Location header, query parameters with material are removed from
// the header. A Location header that still contains material is deleted, so http.Client returns the
// redirect instead of following it. Therefore, neither the field Request nor the Location header of
// a response contains a secret that could be logged.
func (c *Client) Transport(credentialID string, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{credential: c.credential(credentialID), base: base}
}
