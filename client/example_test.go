package client_test

import (
	"context"
	"net/http"

	"google.golang.org/grpc"

	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// A service on Kubernetes calls a broker that demands TLS, and proves who it is by the
// projected token of its service account. The kubelet renews the token, which is read for
// each call.
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
	decorate := func(ctx context.Context, broker authmaterialv1.BrokerServiceClient, request *http.Request) error {
		response, err := broker.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: "pendo"})
		if err != nil {
			return err
		}
		return client.Apply(request, response.GetAuthDecoration())
	}
	_, _ = connect, decorate
}

// A service with a client certificate, which another program renews from time to time.
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
