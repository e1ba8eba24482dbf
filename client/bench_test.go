package client_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// fixedBroker answers each call with the decoration whose credential ID is in the request.
type fixedBroker struct {
	authmaterialv1.UnimplementedBrokerServiceServer
	decorations map[string]*authmaterialv1.AuthDecoration
}

func (b fixedBroker) GetAuthDecoration(_ context.Context, request *authmaterialv1.GetAuthDecorationRequest) (*authmaterialv1.GetAuthDecorationResponse, error) {
	return &authmaterialv1.GetAuthDecorationResponse{AuthDecoration: b.decorations[request.GetCredentialId()]}, nil
}

func (b fixedBroker) WatchAuthDecorations(request *authmaterialv1.WatchAuthDecorationsRequest, stream grpc.ServerStreamingServer[authmaterialv1.WatchAuthDecorationsResponse]) error {
	for _, id := range request.GetCredentialIds() {
		state := &authmaterialv1.WatchAuthDecorationsResponse{CredentialId: id, State: &authmaterialv1.WatchAuthDecorationsResponse_AuthDecoration{AuthDecoration: b.decorations[id]}}
		if err := stream.Send(state); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

// dialMemory serves a broker in memory, and returns a connection to it.
func dialMemory(t testing.TB, broker authmaterialv1.BrokerServiceServer) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	authmaterialv1.RegisterBrokerServiceServer(server, broker)
	go server.Serve(listener) //nolint:errcheck // if the server cannot run, the test's calls fail
	connection, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = connection.Close()
		server.Stop()
	})
	return connection
}

// fixedAnswer is a base transport that sends nothing, and always returns the same response.
type fixedAnswer struct{ response *http.Response }

func (f fixedAnswer) RoundTrip(*http.Request) (*http.Response, error) { return f.response, nil }

// BenchmarkTransport measures what a RoundTripper adds to a request when the material is there: the
// difference to the case "base". A header costs three allocations: one for the copy of the request,
// and two of the Go runtime for the map with the headers, which must not be shared with the caller or
// with other requests.
func BenchmarkTransport(b *testing.B) {
	decoration := func(id string) *authmaterialv1.AuthDecoration {
		return &authmaterialv1.AuthDecoration{
			CredentialId: id, Version: "v1", AllowedHosts: []string{"api.example.test"}, RejectedStatuses: []int32{401},
			ExpireTime: timestamppb.New(time.Now().Add(time.Hour)), RefreshTime: timestamppb.New(time.Now().Add(time.Hour)),
		}
	}
	bearer, query := decoration("bearer"), decoration("query")
	bearer.Headers = []*authmaterialv1.Header{{Name: "Authorization", Value: "Bearer token"}}
	query.QueryParams = []*authmaterialv1.QueryParam{{Name: "key", Value: "a b"}}
	connection := dialMemory(b, fixedBroker{decorations: map[string]*authmaterialv1.AuthDecoration{"bearer": bearer, "query": query}})
	amb := client.New(connection)
	defer amb.Close()
	base := fixedAnswer{&http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: http.NoBody}}
	for _, one := range []struct {
		name      string
		transport http.RoundTripper
	}{
		{"base", base},
		{"bearer", amb.Transport("bearer", base)},
		{"query", amb.Transport("query", base)},
		{"oauth2", &oauth2.Transport{Base: base, Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "token"})}},
		{"oauth2 with our TokenSource", &oauth2.Transport{Base: base, Source: amb.TokenSource("bearer")}},
	} {
		b.Run(one.name, func(b *testing.B) {
			request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "https://api.example.test/v1/things?page=1", nil)
			if err != nil {
				b.Fatal(err)
			}
			request.Header.Set("Accept", "application/json")
			request.Header.Set("User-Agent", "mailer/1.0")
			b.ReportAllocs()
			for b.Loop() {
				response, err := one.transport.RoundTrip(request)
				if err != nil {
					b.Fatal(err)
				}
				_ = response.Body.Close()
			}
		})
	}
}
