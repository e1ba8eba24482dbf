package server_test

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// largeCredential is a request with values of the greatest size.
func largeCredential(id string) *authmaterialv1.CreateCredentialRequest {
	value := strings.Repeat("x", 64<<10)
	return &authmaterialv1.CreateCredentialRequest{
		CredentialId: id,
		Credential:   &authmaterialv1.Credential{DisplayName: id, Provider: "spotdraft", AuthMethod: "client_headers"},
		Values:       fieldValues(map[string]string{"client_id": value, "client_secret": value}),
	}
}

// TestLargeRequests sends requests over gRPC that are larger than limits.message_bytes.
func TestLargeRequests(t *testing.T) {
	m := serveSQLite(t)
	for _, id := range []string{"first", "second"} {
		if _, err := m.credentials.CreateCredential(m.as("admin"), largeCredential(id)); err != nil {
			t.Errorf("creating a credential with the largest values fails: %v", err)
		}
	}
	fresh := connect(t, m.grpc.Addr()) // the first call on this connection is large
	if _, err := authmaterialv1.NewCredentialServiceClient(fresh).CreateCredential(m.as("admin"), largeCredential("third")); err != nil {
		t.Errorf("creating a credential with the largest values over a new connection fails: %v", err)
	}
	tooLarge := largeCredential("fourth")
	tooLarge.Credential.Description = strings.Repeat("x", 1<<20)
	for name, test := range map[string]struct {
		call func() error
		code codes.Code
	}{
		"more than a mebibyte": {func() error { _, err := m.credentials.CreateCredential(m.as("admin"), tooLarge); return err }, codes.ResourceExhausted},
		"nobody":               {func() error { _, err := m.credentials.CreateCredential(m.Context(), largeCredential("x")); return err }, codes.Unauthenticated},
		"BrokerService": {func() error {
			_, err := m.client().GetAuthDecoration(m.as("admin"), &authmaterialv1.GetAuthDecorationRequest{CredentialId: strings.Repeat("x", 17<<10)})
			return err
		}, codes.ResourceExhausted},
		"compressed": {func() error {
			_, err := m.credentials.GetCredential(m.as("admin"), &authmaterialv1.GetCredentialRequest{CredentialId: "first"}, grpc.UseCompressor(gzip.Name))
			return err
		}, codes.Unimplemented},
	} {
		if err := test.call(); status.Code(err) != test.code {
			t.Errorf("%s: the error is %v, want %v", name, err, test.code)
		}
	}
}

// TestConcurrentLargeRequests begins large requests and does not complete them.
func TestConcurrentLargeRequests(t *testing.T) {
	m := serveSQLite(t)
	c := m.rawConnect(nil)
	begin := func() uint32 {
		stream := c.openPath("/"+credentialService+"CreateCredential", "authorization", "Bearer "+tokenOf("admin"))
		_ = c.framer.WriteData(stream, false, []byte{0, 0, 8, 0, 0}) // half a mebibyte
		return stream
	}
	for range 5 {
		begin()
	}
	refused := c.next()
	for refused.what != "status" {
		refused = c.next()
	}
	if refused.code != uint32(codes.ResourceExhausted) {
		t.Fatalf("the first of 5 large requests ends with %v, want ResourceExhausted", codes.Code(refused.code))
	}
	m.wantLimited("large_requests_per_caller", 1)
	if _, err := m.credentials.CreateCredential(m.as("admin"), largeCredential("x")); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a large request over the limit ends with %v", err)
	}
	if _, err := m.credentials.GetCredential(m.as("admin"), &authmaterialv1.GetCredentialRequest{CredentialId: "key-of-board"}); err != nil {
		t.Errorf("a small request is refused: %v", err)
	}
	if _, err := m.credentials.CreateCredential(m.as("viewer"), largeCredential("x")); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a large request of another caller ends with %v", err)
	}
	for stream := uint32(1); stream <= c.last; stream += 2 {
		_ = c.framer.WriteRSTStream(stream, http2.ErrCodeCancel)
	}
	m.eventually("large requests are received again", func() bool {
		_, err := m.credentials.CreateCredential(m.as("admin"), largeCredential(fmt.Sprint("x", c.last)))
		return err == nil
	})
}
