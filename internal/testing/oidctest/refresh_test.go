package oidctest_test

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// TestRefreshTokenRotation refreshes tokens at a server that ends a refresh token with its first use. A
// broker that restarts goes on with the last refresh token.
func TestRefreshTokenRotation(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := &storage{secrets: map[string]string{"refresher": "secret"}, refresh: "first", signer: key}
	address := serve(t, s)
	request := `{url: "` + address + `/oauth/token", body: FORM, client_authentication: REQUEST_BODY, grant_type: refresh_token, ` +
		`parameters: {refresh_token: "${refresh_token}"}, response: {refresh_token: refresh_token}}`
	values := map[string]string{"client_id": "refresher", "client_secret": "secret", "refresh_token": "first"}
	section := fmt.Sprintf("store: {url: %q, keys: [{env: STORE_KEY}]}\n", "sqlite://"+filepath.Join(t.TempDir(), "broker.db"))
	want := []string{"first"}
	for life := range 2 {
		t.Run(fmt.Sprintf("life %d", life+1), func(t *testing.T) {
			b := newBroker(t, request, values, section)
			for range 2 {
				got, err := b.GetAuthDecoration(t.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: "mine"})
				if err != nil {
					t.Fatal(err)
				}
				if !accepts(t, address, got.GetAuthDecoration().GetHeaders()[0].GetValue()) {
					t.Error("the server does not accept its token")
				}
				if _, err := b.ReportRejection(t.Context(), &authmaterialv1.ReportRejectionRequest{
					CredentialId: "mine", Version: got.GetAuthDecoration().GetVersion(), HttpStatus: 401,
				}); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	s.mu.Lock()
	for number := 1; number < len(s.used); number++ {
		want = append(want, fmt.Sprintf("refresh-access-%d", number))
	}
	if len(s.used) < 4 || !slices.Equal(s.used, want) {
		t.Errorf("the broker used the refresh tokens %v, want %v", s.used, want)
	}
	s.refresh = "revoked"
	s.mu.Unlock()
	_, err = newBroker(t, request, values, section).
		GetAuthDecoration(t.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: "mine"})
	const refused = "Zitadel refused the credential (HTTP 400, invalid_grant): obtain a new refresh token and rotate the credential"
	if got := status.Convert(err).Message(); got != refused {
		t.Errorf("after the server revoked the refresh token, the error is %q, want %q", got, refused)
	}
}
