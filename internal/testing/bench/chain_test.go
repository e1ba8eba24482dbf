package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// TestChainIsWhole checks that the benchmark's broker makes all its checks: it must refuse calls
// with a certificate that has no grant, without a certificate, and without TLS.
func TestChainIsWhole(t *testing.T) {
	for _, mode := range auditModes {
		t.Run(mode, func(t *testing.T) {
			folder, remove, err := writeCertificates(1)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = remove() }()
			err = with(t.Context(), roleBroker, task{Certificates: folder, Audit: mode}, func(broker endpoint) error {
				certain, err := tlsConfig(folder, clientName(0))
				if err != nil {
					return err
				}
				others, err := tlsConfig(folder, serverFile)
				if err != nil {
					return err
				}
				unknown := certain.Clone()
				unknown.Certificates = nil
				for what, test := range map[string]struct {
					by   credentials.TransportCredentials
					want codes.Code
				}{
					"the load":        {credentials.NewTLS(certain), codes.OK},
					"another":         {credentials.NewTLS(others), codes.PermissionDenied},
					"nobody":          {credentials.NewTLS(unknown), codes.Unauthenticated},
					"without any TLS": {insecure.NewCredentials(), codes.Unavailable},
				} {
					if got := codeOf(t, broker.GRPC, test.by); got != test.want {
						t.Errorf("%s: the code is %v, want %v", what, got, test.want)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			records, err := os.ReadFile(filepath.Join(folder, auditFile)) // the broker has ended, so the audit file is complete
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{`"` + loadCaller + "0" + `"`, `"dns:localhost"`} {
				if n := strings.Count(string(records), want); n != 1 {
					t.Errorf("%d audit records name %s, want 1", n, want)
				}
			}
		})
	}
}

// codeOf requests a token that the broker already has, and returns the gRPC status code of the
// call.
func codeOf(t *testing.T, address string, by credentials.TransportCredentials) codes.Code {
	t.Helper()
	connection, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(by))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	_, err = authmaterialv1.NewBrokerServiceClient(connection).GetAuthDecoration(t.Context(),
		&authmaterialv1.GetAuthDecorationRequest{CredentialId: warmToken})
	return status.Code(err)
}
