package brokertest_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/brokertest"
	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

const withCallers = `
authentication:
  tokens: [{name: reports, sha256: "%x"}]
credentials:
  - {id: pendo, provider: pendo, auth_method: api_key, values: {api_key: {env: PENDO_API_KEY}}}
  - {id: pulsedive, provider: pulsedive, auth_method: api_key, values: {api_key: {env: PULSEDIVE_API_KEY}}}
grants:
  - {callers: ["spiffe://example/mailer", "token:reports"], credentials: [pendo]}
  - {callers: ["spiffe://brokertest/conn"], credentials: [pulsedive]}
`

// TestServiceWithTLS calls the broker with a client certificate, with a token, and without
// either.
func TestServiceWithTLS(t *testing.T) {
	const token = "amb_a-token-of-this-test-alone-that-is-as-long-as-256-bits"
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := brokertest.New(t, brokertest.WithTLS(), brokertest.WithConfig(fmt.Sprintf(withCallers, sha256.Sum256([]byte(token)))))
	certificateFile, keyFile := b.ClientCertificate(t, "spiffe://example/mailer")
	otherCertificate, otherKey := b.ClientCertificate(t, "spiffe://example/other")
	for name, test := range map[string]struct {
		files   client.TLS
		options []grpc.DialOption
		want    codes.Code
	}{
		"certificate": {client.TLS{CertificateFile: certificateFile, KeyFile: keyFile}, nil, codes.OK},
		"another":     {client.TLS{CertificateFile: otherCertificate, KeyFile: otherKey}, nil, codes.PermissionDenied},
		"token":       {client.TLS{}, []grpc.DialOption{grpc.WithPerRPCCredentials(client.TokenFile(tokenFile))}, codes.OK},
		"nothing":     {client.TLS{}, nil, codes.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			test.files.CAFile = b.CAFile()
			transport, err := test.files.Credentials()
			if err != nil {
				t.Fatal(err)
			}
			connection, err := grpc.NewClient(b.Address(), append(test.options, grpc.WithTransportCredentials(transport))...)
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close() //nolint:errcheck // nothing is lost
			_, err = authmaterialv1.NewBrokerServiceClient(connection).GetAuthDecoration(t.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: "pendo"})
			if status.Code(err) != test.want {
				t.Errorf("the call returned %v, want %v", err, test.want)
			}
		})
	}
	for id, want := range map[string]codes.Code{"pulsedive": codes.OK, "pendo": codes.PermissionDenied} {
		_, err := b.Client().GetAuthDecoration(t.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: id})
		if status.Code(err) != want {
			t.Errorf("over the connection from Conn, a call for the credential %s returned %v, want %v", id, err, want)
		}
	}
}

func TestWithoutTLS(t *testing.T) {
	b := brokertest.New(t)
	if b.Address() != "" || b.CAFile() != "" {
		t.Error("a broker without TLS has an Address or a CAFile, want none")
	}
}
