package client

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/grpc"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// Bounds on calls of the broker whose request has no earlier deadline.
const (
	// getTimeout is longer than the broker takes to answer with a new token: 3 s until it is
	// the request's turn, 2 s for Redis, and 10 s for a token request.
	getTimeout = 20 * time.Second
	// reportTimeout is longer than the three token requests that a report waits for.
	reportTimeout = 45 * time.Second
)

// Client puts a broker's material on HTTP requests. It is safe for concurrent use.
type Client struct {
	broker authmaterialv1.BrokerServiceClient
}

// New returns a Client of the broker that the connection leads to. The caller closes the
// connection when no request needs it any more.
func New(connection grpc.ClientConnInterface) *Client {
	return &Client{broker: authmaterialv1.NewBrokerServiceClient(connection)}
}

// HTTPClient returns an http.Client that keeps the rules of Transport. It follows redirects
// within the allowed hosts.
func (c *Client) HTTPClient(credentialID string) *http.Client {
	return &http.Client{Transport: c.Transport(credentialID, nil)}
}

// Transport returns an http.RoundTripper that authenticates each request with the material
// of a credential, and sends it by base; nil means http.DefaultTransport. It keeps rules
// 1 to 10 of docs/calling.md:
//
//   - It obtains a decoration for each request, and so for each redirect.
//   - It refuses with ErrHostNotAllowed what Apply refuses: hosts that are not allowed, and
//     requests without https. A redirect that leads there fails so too. Set CheckRedirect of
//     the http.Client to return http.ErrUseLastResponse to get the redirect itself.
//   - When the provider rejects the material, it reports that once, and sends the request
//     once more if the broker has replaced the material and the body can be sent again: if
//     there is none, or GetBody is set. Otherwise the provider's answer is the response.
//
// The caller's request is not changed. It is also the Request of the response. A query
// parameter with material is removed from a Location header; the header is deleted if the
// material is anywhere else in it, and http.Client then returns the redirect itself. So
// neither holds a secret that a log could print.
func (c *Client) Transport(credentialID string, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{broker: c.broker, credentialID: credentialID, base: base}
}

// get obtains a decoration.
func (t *transport) get(ctx context.Context) (*authmaterialv1.AuthDecoration, error) {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	response, err := t.broker.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: t.credentialID})
	if err != nil {
		return nil, fmt.Errorf("obtain the material of credential %q: %w", t.credentialID, err)
	}
	return response.GetAuthDecoration(), nil
}

// report reports a rejection. It returns what to retry with, or nil not to retry.
func (t *transport) report(ctx context.Context, rejected *authmaterialv1.AuthDecoration, httpStatus int) *authmaterialv1.AuthDecoration {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	response, err := t.broker.ReportRejection(ctx, &authmaterialv1.ReportRejectionRequest{
		CredentialId: t.credentialID,
		Version:      rejected.GetVersion(),
		HttpStatus:   int32(httpStatus), //nolint:gosec // one of rejected_statuses
	})
	if err != nil {
		return nil // the provider's answer says more to the caller
	}
	switch response.GetOutcome() {
	case authmaterialv1.ReportRejectionResponse_OUTCOME_ALREADY_REPLACED, authmaterialv1.ReportRejectionResponse_OUTCOME_REPLACED:
		return response.GetAuthDecoration()
	default:
		return nil
	}
}
