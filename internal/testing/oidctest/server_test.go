package oidctest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// issuer is an authorization server of zitadel/oidc. Its method VerifyClient also allows
// private_key_jwt (RFC 7523, section 2.2) with the grant type client_credentials.
type issuer struct {
	*op.LegacyServer

	provider *op.Provider
}

func (s issuer) VerifyClient(ctx context.Context, r *op.Request[op.ClientCredentials]) (op.Client, error) {
	if r.Data.ClientAssertion != "" {
		return op.AuthorizePrivateJWTKey(ctx, r.Data.ClientAssertion, s.provider)
	}
	return s.LegacyServer.VerifyClient(ctx, r)
}

// serve starts an authorization server, and returns its URL.
func serve(t *testing.T, storage *storage) (address string) {
	t.Helper()
	var handler http.Handler
	listening := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(listening.Close)
	provider, err := op.NewProvider(
		&op.Config{AuthMethodPost: true, AuthMethodPrivateKeyJWT: true, GrantTypeRefreshToken: true},
		storage, op.StaticIssuer(listening.URL), op.WithAllowInsecure(),
	)
	if err != nil {
		t.Fatal(err)
	}
	handler = op.RegisterLegacyServer(issuer{op.NewLegacyServer(provider, *op.DefaultEndpoints), provider}, http.NotFound)
	return listening.URL
}

// accepts reports whether the authorization server accepts an access token.
func accepts(t *testing.T, issuer, authorization string) bool {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, issuer+"/userinfo", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", authorization)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}
