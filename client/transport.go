package client

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// maxDrain is the length in bytes of the longest rejected answer that is read so that its
// connection can be used again.
const maxDrain = 4 << 10

// transport is what Client.Transport returns.
type transport struct {
	broker       authmaterialv1.BrokerServiceClient
	credentialID string
	base         http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	decoration, err := t.get(request.Context())
	if err != nil {
		closeBody(request)
		return nil, err
	}
	decorated := request.Clone(request.Context())
	if err := Apply(decorated, decoration); err != nil {
		closeBody(request)
		return nil, err
	}
	response, err := t.send(request, decorated, decoration)
	if err != nil || !slices.Contains(decoration.GetRejectedStatuses(), int32(response.StatusCode)) { //nolint:gosec // net/http allows three digits
		return response, err
	}
	successor := t.report(request.Context(), decoration, response.StatusCode)
	if successor == nil {
		return response, nil
	}
	again, ok := repeat(request)
	if !ok {
		return response, nil
	}
	if Apply(again, successor) != nil {
		closeBody(again)
		return response, nil
	}
	if response.ContentLength >= 0 && response.ContentLength <= maxDrain { // others may never end
		_, _ = io.CopyN(io.Discard, response.Body, response.ContentLength)
	}
	_ = response.Body.Close()
	return t.send(request, again, successor)
}

// send sends a decorated copy of a request. It removes the material from the response, and
// the decorated URL from the error of a base that wraps an http.Client.
func (t *transport) send(original, decorated *http.Request, decoration *authmaterialv1.AuthDecoration) (*http.Response, error) {
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

// CloseIdleConnections is called by the method of http.Client that has this name.
func (t *transport) CloseIdleConnections() {
	if closer, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

// repeat returns a copy of a request that was sent, with its body from the beginning.
func repeat(request *http.Request) (again *http.Request, ok bool) {
	again = request.Clone(request.Context())
	if request.Body == nil || request.Body == http.NoBody {
		return again, true
	}
	if request.GetBody == nil {
		return nil, false
	}
	body, err := request.GetBody()
	if err != nil {
		return nil, false
	}
	again.Body = body
	return again, true
}

// closeBody closes the body of a request that is not sent, as http.RoundTripper demands.
func closeBody(request *http.Request) {
	if request.Body != nil {
		_ = request.Body.Close()
	}
}
