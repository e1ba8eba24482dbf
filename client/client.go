// Package client helps Go services to call the broker, and to add the broker's material to HTTP
// requests. It imports the generated stubs, gRPC, the standard library and, for reading files,
// two small packages of the broker.
//
// Client.HTTPClient and Client.Transport follow rules 1 to 10 of docs/calling.md. Users of Apply
// must follow the rules themselves.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

const (
	// getTimeout is the timeout of GetAuthDecoration. To get a new token, the broker waits up to
	// 3 s for its turn and 2 s for Redis, and the token request takes up to 10 s.
	getTimeout = 20 * time.Second
	// reportTimeout is the timeout of ReportRejection, which waits for up to three token
	// requests.
	reportTimeout = 45 * time.Second
	// maxDrain is the maximum size in bytes of a rejected response that is read to its end, so
	// that the connection can be used again.
	maxDrain = 4 << 10
)

// Client adds the broker's material to HTTP requests. It is safe for concurrent use.
type Client struct {
	broker authmaterialv1.BrokerServiceClient
}

// New returns a Client that calls the broker over a connection. The caller must close the
// connection when no request needs it any more.
func New(connection grpc.ClientConnInterface) *Client {
	return &Client{broker: authmaterialv1.NewBrokerServiceClient(connection)}
}

// HTTPClient returns an http.Client that authenticates its requests by Transport. It follows
// redirects to the allowed hosts.
func (c *Client) HTTPClient(credentialID string) *http.Client {
	return &http.Client{Transport: c.Transport(credentialID, nil)}
}

// Transport returns an http.RoundTripper that adds the material of a credential to each request, and
// sends the request by base. If base is nil, http.DefaultTransport is used. The RoundTripper follows
// rules 1 to 10 of docs/calling.md:
//
//   - It gets a decoration for each request, and so for each redirect.
//   - It rejects requests that Apply rejects: requests to hosts that are not allowed, and requests
//     without https. The error is ErrHostNotAllowed. A redirect to such a URL fails in the same way. To
//     receive the redirect itself, set CheckRedirect of the http.Client to return
//     http.ErrUseLastResponse.
//   - If the provider rejects the material, the RoundTripper reports the rejection once. It sends the
//     request once more if the broker has replaced the material and the body can be sent again: the
//     request has no body, or its GetBody is set. Otherwise it returns the provider's answer.
//
// The caller's request does not change, and is the field Request of the response. Query parameters with
// material are removed from a Location header. If the header still contains material, it is deleted, and
// http.Client returns the redirect itself. So neither the request nor the header contains a secret that
// could be logged.
func (c *Client) Transport(credentialID string, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{broker: c.broker, credentialID: credentialID, base: base}
}

// transport is the http.RoundTripper that Client.Transport returns.
type transport struct {
	broker       authmaterialv1.BrokerServiceClient
	credentialID string
	base         http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	decorated := request.Clone(request.Context())
	decoration, err := t.get(request.Context())
	if err == nil {
		err = Apply(decorated, decoration)
	}
	if err != nil {
		if request.Body != nil { // http.RoundTripper requires that the body is closed
			_ = request.Body.Close()
		}
		return nil, err
	}
	response, err := t.send(request, decorated, decoration)
	if err != nil || !slices.Contains(decoration.GetRejectedStatuses(), int32(response.StatusCode)) { //nolint:gosec // net/http allows only statuses of three digits
		return response, err
	}
	successor := t.report(request.Context(), decoration, response.StatusCode)
	again := repeat(request, successor)
	if again == nil {
		return response, nil
	}
	if response.ContentLength >= 0 && response.ContentLength <= maxDrain { // a body of unknown length may never end
		_, _ = io.CopyN(io.Discard, response.Body, response.ContentLength)
	}
	_ = response.Body.Close()
	return t.send(request, again, successor)
}

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (t *transport) CloseIdleConnections() {
	if closer, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

// get requests the current decoration from the broker.
func (t *transport) get(ctx context.Context) (*authmaterialv1.AuthDecoration, error) {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	request := &authmaterialv1.GetAuthDecorationRequest{CredentialId: t.credentialID}
	response, err := t.broker.GetAuthDecoration(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("get the material of credential %q: %w", t.credentialID, err)
	}
	return response.GetAuthDecoration(), nil
}

// report reports to the broker that the provider rejected a decoration. It returns the
// decoration for a second attempt, or nil. It also returns nil after an error, because the
// provider's answer is more useful to the caller than that error.
func (t *transport) report(
	ctx context.Context, rejected *authmaterialv1.AuthDecoration, httpStatus int,
) *authmaterialv1.AuthDecoration {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	response, err := t.broker.ReportRejection(ctx, &authmaterialv1.ReportRejectionRequest{
		CredentialId: t.credentialID,
		Version:      rejected.GetVersion(),
		HttpStatus:   int32(httpStatus), //nolint:gosec // one of rejected_statuses
	})
	if err != nil {
		return nil
	}
	switch response.GetOutcome() {
	case authmaterialv1.ReportRejectionResponse_OUTCOME_ALREADY_REPLACED,
		authmaterialv1.ReportRejectionResponse_OUTCOME_REPLACED:
		return response.GetAuthDecoration()
	default:
		return nil
	}
}

// send sends a decorated copy of a request. It removes the material from the response. If base
// wraps an http.Client, its errors contain the decorated URL, so send removes the URL from the
// error.
func (t *transport) send(
	original, decorated *http.Request, decoration *authmaterialv1.AuthDecoration,
) (*http.Response, error) {
	response, err := t.base.RoundTrip(decorated)
	if err != nil {
		for wrapped := (*url.Error)(nil); errors.As(err, &wrapped); {
			err = wrapped.Err
		}
		return nil, err
	}
	response.Request = original
	cleanLocation(response.Header, original.URL, decoration)
	return response, nil
}

// repeat returns a copy of a sent request, with a new decoration and with its body from the
// beginning. It returns nil if there is no decoration, if Apply rejects the copy, or if the body
// cannot be sent again.
func repeat(request *http.Request, successor *authmaterialv1.AuthDecoration) *http.Request {
	again := request.Clone(request.Context())
	if successor == nil || Apply(again, successor) != nil {
		return nil
	}
	if request.Body == nil || request.Body == http.NoBody {
		return again
	}
	if request.GetBody == nil {
		return nil
	}
	body, err := request.GetBody()
	if err != nil {
		return nil
	}
	again.Body = body
	return again
}
