package client_test

import (
	"context"
	"errors"
	"net/http"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/authmaterial/broker/client"
)

// A service on Kubernetes calls a broker that requires TLS, and authenticates with the projected
// token of its service account. Each call reads the token file again, because the kubelet renews
// it.
func ExampleTokenFile() {
	connect := func() (*grpc.ClientConn, error) {
		transport, err := client.TLS{CAFile: "/etc/broker/ca.pem"}.Credentials()
		if err != nil {
			return nil, err
		}
		return grpc.NewClient("dns:///broker.example:50051",
			grpc.WithTransportCredentials(transport),
			grpc.WithPerRPCCredentials(client.TokenFile("/var/run/secrets/broker/token")))
	}
	_ = connect
}

// A service calls Pendo with an http.Client that adds the material of one credential to every
// request.
func ExampleClient_HTTPClient() {
	callPendo := func(ctx context.Context, connection *grpc.ClientConn) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://app.pendo.io/api/v1/feature", nil)
		if err != nil {
			return err
		}
		broker := client.New(connection) // one for the program
		defer broker.Close()
		pendo := broker.HTTPClient("pendo") // for all requests with this credential
		response, err := pendo.Do(request)
		if err != nil {
			return err
		}
		return response.Body.Close()
	}
	_ = callPendo
}

// A program connects to a broker on another machine. The pings notice a connection that the network
// has lost silently.
func ExampleNew() {
	connect := func(transport credentials.TransportCredentials) (*client.Client, error) {
		connection, err := grpc.NewClient("dns:///broker.example:50051",
			grpc.WithTransportCredentials(transport),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}))
		if err != nil {
			return nil, err
		}
		return client.New(connection), nil
	}
	_ = connect
}

// A library that accepts no http.Client gets the token of a credential as an oauth2.TokenSource.
func ExampleClient_TokenSource() {
	sendPulse := func(broker *client.Client) oauth2.TokenSource {
		return broker.TokenSource("sendpulse-prod")
	}
	_ = sendPulse
}

// A program decides by the reason what to do about a request that was not sent.
func ExampleError() {
	explain := func(err error) string {
		if failed := (*client.Error)(nil); errors.As(err, &failed) {
			switch failed.Reason {
			case client.ReasonBrokerUnreachable:
				return "try again in " + failed.RetryDelay.String()
			case "CREDENTIAL_REJECTED":
				return "the secret of " + failed.CredentialID + " must be replaced"
			}
		}
		return "the request failed"
	}
	_ = explain
}

// A service authenticates with a client certificate, which another program renews.
func ExampleTLS() {
	connect := func() (*grpc.ClientConn, error) {
		transport, err := client.TLS{
			CAFile:          "/etc/broker/ca.pem",
			CertificateFile: "/etc/mailer/tls.crt",
			KeyFile:         "/etc/mailer/tls.key",
		}.Credentials()
		if err != nil {
			return nil, err
		}
		return grpc.NewClient("dns:///broker.example:50051", grpc.WithTransportCredentials(transport))
	}
	_ = connect
}
