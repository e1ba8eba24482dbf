// Package oidctest tests token requests at an authorization server that is not part of this project:
// that of github.com/zitadel/oidc. It is a module of its own, so that the broker does not depend on
// the modules of this server.
package oidctest_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/server"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	jwtBearer     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	signed        = `, jwt: {algorithm: RS256, key: "${private_key}", header: {kid: k1}, claims: {iss: "${client_id}", sub: "${client_id}", aud: ISSUER}}`
)

func newKey[K crypto.Signer](t *testing.T, key K, err error) (public crypto.PublicKey, text string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key.Public(), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestTokenRequests(t *testing.T) {
	const odd = `s+ &=%:"\/`
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	public, private := newKey(t, rsaKey, err)
	otherKey, err := rsa.GenerateKey(rand.Reader, 2048)
	_, wrong := newKey(t, otherKey, err)
	issuer := serve(t, &storage{
		secrets: map[string]string{"i d+": odd},
		keys:    map[string]crypto.PublicKey{"signer": public},
	})
	withSecret := map[string]string{"client_id": "i d+", "client_secret": odd}
	withKey := map[string]string{"client_id": "signer", "private_key": private}
	for name, test := range map[string]struct {
		request string // the section token_request, without the URL
		values  map[string]string
		failure string
	}{
		"client credentials in the body":  {"body: FORM, client_authentication: REQUEST_BODY", withSecret, ""},
		"client credentials as BASIC":     {"body: FORM, client_authentication: BASIC, parameters: {scope: a b}", withSecret, ""},
		"client credentials in the query": {"body: QUERY, client_authentication: REQUEST_BODY", withSecret, ""},
		"a wrong secret": {
			"body: FORM, client_authentication: BASIC", map[string]string{"client_id": "i d+", "client_secret": "wrong"},
			"Zitadel refused the credential (HTTP 400, invalid_client)",
		},
		"private_key_jwt": {
			"body: FORM, client_authentication: NONE, parameters: {client_assertion: \"${jwt}\", client_assertion_type: \"" + assertionType + "\"}" + signed,
			withKey, "",
		},
		"private_key_jwt with another key": {
			"body: FORM, client_authentication: NONE, parameters: {client_assertion: \"${jwt}\", client_assertion_type: \"" + assertionType + "\"}" + signed,
			map[string]string{"client_id": "signer", "private_key": wrong}, "Zitadel refused the credential (HTTP 400, invalid_grant)",
		},
		"JWT bearer": {
			"body: FORM, client_authentication: NONE, grant_type: \"" + jwtBearer + "\", parameters: {assertion: \"${jwt}\", scope: openid}" + signed,
			withKey, "",
		},
		"JWT bearer for another audience": {
			"body: FORM, client_authentication: NONE, grant_type: \"" + jwtBearer + "\", parameters: {assertion: \"${jwt}\"}" + strings.Replace(signed, "ISSUER", "other", 1),
			withKey, "Zitadel refused the credential (HTTP 400, invalid_request)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			request := strings.ReplaceAll(test.request, "ISSUER", issuer)
			b := newBroker(t, `{url: "`+issuer+`/oauth/token", `+request+`}`, test.values)
			decoration, err := b.GetAuthDecoration(t.Context(), &authmaterialv1.GetAuthDecorationRequest{CredentialId: "mine"})
			if test.failure != "" || err != nil {
				if got := status.Convert(err).Message(); got != test.failure {
					t.Errorf("the error is %q, want %q", got, test.failure)
				}
				return
			}
			if !accepts(t, issuer, decoration.GetAuthDecoration().GetHeaders()[0].GetValue()) {
				t.Error("the server does not accept its token")
			}
			left := time.Until(decoration.GetAuthDecoration().GetExpireTime().AsTime())
			if left < 8*time.Minute || left > tokenLifetime {
				t.Errorf("the token expires in %v, want a little less than %v", left, tokenLifetime)
			}
		})
	}
}

// newBroker starts a broker with the credential `mine` and more sections of its configuration, and
// returns a client of the broker.
func newBroker(t *testing.T, tokenRequest string, values map[string]string, sections ...string) authmaterialv1.BrokerServiceClient {
	t.Helper()
	var fields []map[string]any
	sources := map[string]any{}
	for id, value := range values {
		fields = append(fields, map[string]any{"id": id, "display_name": id, "required": true, "secret": id != "client_id"})
		sources[id] = map[string]string{"value": value}
	}
	inJSON := func(value any) string {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	return serveBroker(t, `
providers:
  - id: zitadel
    display_name: Zitadel
    allowed_hosts: [api.example.com]
    auth_methods:
      - id: main
        display_name: Main
        fields: `+inJSON(fields)+`
        token_request: `+tokenRequest+`
        headers: [{name: Authorization, value: "Bearer ${token}"}]
credentials:
  - {id: mine, provider: zitadel, auth_method: main, values: `+inJSON(sources)+`}
`+strings.Join(sections, ""))
}

// storeKey is the key of credential stores.
var storeKey = fleetkeys.Generate()

func serveBroker(t *testing.T, text string) authmaterialv1.BrokerServiceClient {
	t.Helper()
	loaded, err := config.Parse("broker.yaml", []byte(text), config.Options{LookupEnv: func(name string) (string, bool) { return storeKey, name == "STORE_KEY" }})
	if err != nil {
		t.Fatal(err)
	}
	broker, err := server.New(server.Options{Config: loaded, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- broker.ServeGRPC(listener) }()
	connection, err := grpc.NewClient("passthrough:///"+listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = connection.Close()
		broker.Stop(context.Background())
		if err := <-served; err != nil {
			t.Errorf("the broker ended with %v", err)
		}
	})
	return authmaterialv1.NewBrokerServiceClient(connection)
}
