package rpc

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"google.golang.org/grpc/peer"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/gen/authmaterial/v1/authmaterialv1connect"
	"github.com/authmaterial/broker/internal/authentication"
)

// WithEvidence returns a context for a call that the broker makes for somebody whose evidence it
// has received earlier, such as a person who has signed in to the console.
func WithEvidence(ctx context.Context, evidence authentication.Evidence) context.Context {
	return peer.NewContext(ctx, &peer.Peer{Addr: address(evidence.Address), AuthInfo: &Peer{given: &evidence}})
}

// Local returns clients of CredentialService and ProviderService that call this Service without a
// network. The Service treats these calls as it treats calls over HTTP. The context of each call
// must be from WithEvidence.
func (s *Service) Local() (authmaterialv1connect.CredentialServiceClient, authmaterialv1connect.ProviderServiceClient) {
	transport := local{s.HTTP()}
	return authmaterialv1connect.NewCredentialServiceClient(transport, "http://local"),
		authmaterialv1connect.NewProviderServiceClient(transport, "http://local")
}

// local is a connect.HTTPClient that calls a handler.
type local struct{ handler http.Handler }

// Do implements connect.HTTPClient.
func (l local) Do(r *http.Request) (*http.Response, error) {
	w := &response{header: http.Header{}, status: http.StatusOK}
	l.handler.ServeHTTP(w, r)
	return &http.Response{
		StatusCode: w.status, Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()),
		ProtoMajor: 1, ProtoMinor: 1, Request: r,
	}, nil
}

// response is an http.ResponseWriter that keeps the response.
type response struct {
	status int
	header http.Header
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) { return w.body.Write(p) }

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) { w.status = status }

// WatchStates answers WatchCredentialStates for a caller in this process. The context must be from
// WithEvidence. WatchStates returns when the context ends, without an error, or when `send` fails. The
// error is a *connect.Error.
func (s *Service) WatchStates(
	ctx context.Context, request *authmaterialv1.WatchCredentialStatesRequest,
	send func(*authmaterialv1.WatchCredentialStatesResponse) error,
) (err error) {
	m := s.otherMethod(authmaterialv1.CredentialService_WatchCredentialStates_FullMethodName, true)
	c := s.begin(ctx, m)
	defer func() {
		if err = c.end(err, recover()); err != nil {
			err = toConnect(err)
		}
	}()
	m.Received.Inc()
	caller, err := c.identify(1)
	if err != nil {
		return err
	}
	if err = s.sendStates(&c, caller, request, send); ctx.Err() != nil {
		return nil // the end of the context is the normal end of a watch in this process
	}
	return err
}
