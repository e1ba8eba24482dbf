package leaktest_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// caller makes calls to a broker, all with the same token or client certificate.
type caller struct {
	w       *world
	broker  string
	client  authmaterialv1.BrokerServiceClient
	manager authmaterialv1.CredentialServiceClient
	proof   []string // values of the header `authorization`
}

func (w *world) clientTLS(certificates ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: authtest.Pool(w.authority), ServerName: "localhost", MinVersion: tls.VersionTLS13, Certificates: certificates}
}

func (w *world) dial(broker, target string, transport credentials.TransportCredentials) caller {
	w.Helper()
	connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(transport))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = connection.Close() })
	return caller{w: w, broker: broker, client: authmaterialv1.NewBrokerServiceClient(connection), manager: authmaterialv1.NewCredentialServiceClient(connection)}
}

// The method `as` returns a copy of the caller that authenticates with another token.
func (c caller) as(authorization ...string) caller {
	c.proof = authorization
	return c
}

// `context` returns a context whose metadata contains the caller's token, and secrets that the broker
// does not use.
func (c caller) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(c.w.Context(), 5*time.Second)
	for _, value := range c.proof {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", value)
	}
	return metadata.AppendToOutgoingContext(ctx, "cookie", c.w.metadata, "x-api-key", c.w.metadata, "traceparent", c.w.metadata, "baggage", "k="+c.w.metadata), cancel
}

func (c caller) collect(err error, answered ...metadata.MD) {
	failed := status.Convert(err)
	wire, _ := proto.Marshal(failed.Proto())
	c.w.collect(c.broker+": errors", fmt.Appendf(wire, "\n%v %+v %v", err, err, failed.Details()))
	for _, values := range answered {
		c.w.collect(c.broker+": metadata of answers", fmt.Appendf(nil, "%q", values))
	}
}

func (c caller) get(id string) error {
	ctx, cancel := c.context()
	defer cancel()
	var header, trailer metadata.MD
	response, err := c.client.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: id}, grpc.Header(&header), grpc.Trailer(&trailer))
	c.collect(err, header, trailer)
	c.w.collect(c.broker+": versions", []byte(response.GetAuthDecoration().GetVersion()))
	return err
}

// getAll requests many credentials concurrently, and returns the IDs of the successful calls.
func (c caller) getAll(ids []string) (good []string) {
	var mu sync.Mutex
	var calls sync.WaitGroup
	for _, id := range ids {
		calls.Go(func() {
			if c.get(id) == nil {
				mu.Lock()
				defer mu.Unlock()
				good = append(good, id)
			}
		})
	}
	calls.Wait()
	return good
}

func (c caller) batch(ids []string) {
	ctx, cancel := c.context()
	defer cancel()
	response, err := c.client.BatchGetAuthDecorations(ctx, &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: ids})
	c.collect(err)
	for _, result := range response.GetResults() {
		c.item(result.GetError())
	}
}

func (c caller) item(failure *authmaterialv1.AuthDecorationError) {
	wire, _ := proto.Marshal(failure)
	c.w.collect(c.broker+": errors of items", wire)
}

// `watch` receives states until it has one of each credential.
func (c caller) watch(ids []string) {
	ctx, cancel := c.context()
	defer cancel()
	stream, err := c.client.WatchAuthDecorations(ctx, &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: ids})
	for seen := map[string]bool{}; err == nil && len(seen) < len(ids); {
		var response *authmaterialv1.WatchAuthDecorationsResponse
		response, err = stream.Recv()
		c.item(response.GetError())
		seen[response.GetCredentialId()] = true
	}
	c.collect(err)
}

func (c caller) report(id, version string) {
	ctx, cancel := c.context()
	defer cancel()
	_, err := c.client.ReportRejection(ctx, &authmaterialv1.ReportRejectionRequest{CredentialId: id, Version: version, HttpStatus: http.StatusUnauthorized})
	c.collect(err)
}

func (w *world) fetch(broker string, transport *http.Transport, address string) {
	w.Helper()
	defer transport.CloseIdleConnections()
	for _, path := range []string{"/metrics", "/livez", "/readyz", "/debug/pprof/cmdline", "/debug/vars"} {
		request, err := http.NewRequestWithContext(w.Context(), http.MethodGet, address+path, nil)
		if err != nil {
			w.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+w.tokens["mailer"])
		response, err := transport.RoundTrip(request)
		if err != nil {
			w.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		w.collect(broker+": "+path, text)
	}
}

// overHTTP fetches the pages of a broker, and makes invalid management requests over HTTP.
func overHTTP(w *world, broker string) {
	w.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", w.path("http"))
	}}
	w.fetch(broker, transport, "http://localhost")
	for n, body := range []string{
		`{"credential_id": "over-http", "values": [{"field": "key", "value": ` + inYAML(w.canary("a key over HTTP")) + `}]}`,
		`{"credential_id": "over-http", "values": [{"field": "key", "value": ` + inYAML(w.canary("a key in malformed JSON")),
		`{"credential_id": "over-http", ` + inYAML(w.canary("a key as the name of a field")) + `: true}`,
	} {
		address := "http://localhost/authmaterial.v1.CredentialService/CreateCredential"
		request, err := http.NewRequestWithContext(w.Context(), http.MethodPost, address, strings.NewReader(body))
		if err != nil {
			w.Fatal(err)
		}
		request.Header = http.Header{"Content-Type": {"application/json"}, "Connect-Protocol-Version": {"1"}, "Cookie": {w.metadata}, "Traceparent": {w.metadata}}
		response, err := transport.RoundTrip(request)
		if err != nil {
			w.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		w.collect(broker+": answers over HTTP", text)
		if response.StatusCode != http.StatusBadRequest {
			w.Errorf("the invalid request %d over HTTP has the status %d", n, response.StatusCode)
		}
	}
	transport.CloseIdleConnections()
}
