// Package client helps Go services call the broker, and add the broker's material to HTTP requests.
// The package imports the generated stubs, gRPC, the standard library and two small packages of the
// broker for reading files.
//
// Client.HTTPClient and Client.Transport follow rules 1 to 10 of docs/calling.md. Code that calls
// Apply must follow these rules itself.
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
	// getTimeout is the timeout of GetAuthDecoration. To get a new token, the broker may wait 3s
	// for its turn and 2s for Redis, before a token request of up to 10s.
	getTimeout = 20 * time.Second
	// reportTimeout is the timeout of ReportRejection. The broker may wait for three token
	// requests before it answers a report.
	reportTimeout = 45 * time.Second
	// The body of a response that rejects the material is read to its end, so that the connection
	// can be used again, if it has at most maxDrain bytes.
	maxDrain = 4 << 10
)

// Client adds the broker's material to HTTP requests. A Client is safe for concurrent use.
type Client struct {
	broker authmaterialv1.BrokerServiceClient
}

// New returns a Client that calls the broker over a gRPC connection. The caller of New must close
// the connection when it is no longer needed.
func New(connection grpc.ClientConnInterface) *Client {
	return &Client{broker: authmaterialv1.NewBrokerServiceClient(connection)}
}

// HTTPClient returns an http.Client that adds the material of a credential to its requests, as
// Transport describes. The http.Client follows redirects to the allowed hosts.
func (c *Client) HTTPClient(credentialID string) *http.Client {
	return &http.Client{Transport: c.Transport(credentialID, nil)}
}

// Transport returns an http.RoundTripper that adds the material of a credential to each request,
// and sends the request with `base`, or with http.DefaultTransport if `base` is nil. The returned
// RoundTripper follows rules 1 to 10 of docs/calling.md.
//
//   - The RoundTripper gets a decoration for each request, including each request that follows a
//     redirect.
//   - The RoundTripper rejects the requests that Apply rejects, with ErrHostNotAllowed: requests to
//     hosts that are not allowed, and requests without https. A redirect to a URL that Apply rejects
//     fails with ErrHostNotAllowed, unless the field CheckRedirect of the http.Client is a function
//     that returns http.ErrUseLastResponse.
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
	return &transport{broker: c.broker, credentialID: credentialID, base: base}
}

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
		if request.Body != nil { // an http.RoundTripper must close the request's body
			_ = request.Body.Close()
		}
		return nil, err
	}
	response, err := t.send(request, decorated, decoration)
	if err != nil || !slices.Contains(decoration.GetRejectedStatuses(), int32(response.StatusCode)) { //nolint:gosec // a status fits into 32 bits: in net/http, it has three digits
		return response, err
	}
	successor := t.report(request.Context(), decoration, response.StatusCode)
	again := repeat(request, successor)
	if again == nil {
		return response, nil
	}
	if response.ContentLength >= 0 && response.ContentLength <= maxDrain { // the body is not read if its length is unknown, because it may never end
		_, _ = io.CopyN(io.Discard, response.Body, response.ContentLength)
	}
	_ = response.Body.Close()
	return t.send(request, again, successor)
}

// CloseIdleConnections closes the idle connections of the base transport, for the method
// CloseIdleConnections of http.Client.
func (t *transport) CloseIdleConnections() {
	if closer, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

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

// `report` tells the broker that the provider rejected a decoration, and returns the decoration for
// a second attempt, or nil if the request must not be sent again. If the report fails, the result
// is nil too, because the provider's answer is more useful to the caller than an error of the
// broker.
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

// send sends a decorated copy of a request, and removes the material from the response. send
// removes the URL from errors, because errors of a RoundTripper that uses an http.Client contain
// the URL with the material.
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

// `repeat` returns a copy of a request for a second attempt, with a new decoration and with its
// body read from the beginning again. `repeat` returns nil if there is no new decoration, if Apply
// returns an error, or if the body cannot be sent again.
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
