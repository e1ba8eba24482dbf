package client_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/peertest"
)

// TestHostileBroker calls brokers that announce more bytes than they send, or that send headers
// without end. The client uses gRPC's default limits: 4 MiB for a message, and 16 MiB for headers.
func TestHostileBroker(t *testing.T) {
	for name, answer := range peertest.HTTP2Answers() {
		t.Run(name, func(t *testing.T) {
			connection, err := grpc.NewClient(peertest.ServeHTTP2(t, answer), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close() //nolint:errcheck // an error of Close does not matter
			// gRPC reads headers beyond its limit until the call ends, but does not store them.
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			peertest.WantAllocated(t, 192<<20, func() {
				request := newRequest(t, "https://api.example.test/").WithContext(ctx)
				response, err := client.New(connection).HTTPClient("pendo").Do(request)
				if err == nil {
					_ = response.Body.Close()
					t.Error("the call succeeded")
				}
			})
		})
	}
}

func TestCrowdedDecorations(t *testing.T) {
	headers, params := newDecoration(), newDecoration()
	for range 1_000_000 {
		headers.Headers = append(headers.Headers, headers.GetHeaders()[0])
		params.QueryParams = append(params.QueryParams, params.GetQueryParams()[0])
	}
	for name, decoration := range map[string]*authmaterialv1.AuthDecoration{"headers": headers, "parameters": params} {
		request := newRequest(t, "https://api.example.test/")
		err := client.Apply(request, decoration)
		if err == nil || !strings.Contains(err.Error(), "more than 1000") || len(request.Header) > 0 || request.URL.RawQuery != "" {
			t.Errorf("a decoration with a million %s: the error is %v, and the request has %d headers", name, err, len(request.Header))
		}
	}
}
