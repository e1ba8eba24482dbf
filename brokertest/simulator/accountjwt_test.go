package simulator_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/egress"
)

// TestJWTOfAnAccount sends token requests with JWTs that differ from what the definition produces.
func TestJWTOfAnAccount(t *testing.T) {
	clock := clockwork.NewFakeClock()
	sim, client := start(t, simulator.WithClock(clock))
	account := addAccount(t, sim, method("key", `token_request: {url: "https://api.example.test/oauth/token", body: FORM, client_authentication: NONE, grant_type: "", parameters: {assertion: "${jwt}"},
		jwt: {algorithm: ES256, key: "${key}", header: {kid: "1"}, claims: {iss: me, aud: [a, b]}, lifetime: 5m, backdate: 1m}}, headers: [{name: Authorization, value: "Bearer ${token}"}]`), simulator.AccountConfig{})
	block, _ := pem.Decode([]byte(account.Values()["key"]))
	own, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	type members map[string]any
	now := clock.Now().Unix()
	for name, test := range map[string]struct {
		key    any
		header members // changes of the good header
		claims members // changes of the good claims; nil removes a claim
		want   int
	}{
		"as defined":     {own, nil, nil, 200},
		"another key":    {other, nil, nil, 401},
		"another kid":    {own, members{"kid": "2"}, nil, 401},
		"another type":   {own, members{"typ": "at+jwt"}, nil, 401},
		"more header":    {own, members{"x": "y"}, nil, 401},
		"another issuer": {own, nil, members{"iss": "you"}, 401},
		"less audience":  {own, nil, members{"aud": []string{"a"}}, 401},
		"another claim":  {own, nil, members{"sub": "me"}, 401},
		"no jti":         {own, nil, members{"jti": nil}, 401},
		"expired":        {own, nil, members{"iat": now - 3600, "exp": now - 3600 + 360}, 401},
		"from later":     {own, nil, members{"iat": now + 120, "exp": now + 120 + 360}, 401},
		"valid for long": {own, nil, members{"exp": now + 3600}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			options := new(jose.SignerOptions).WithType("JWT").WithHeader("kid", "1")
			for name, value := range test.header {
				options.WithHeader(jose.HeaderKey(name), value)
			}
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: test.key}, options)
			if err != nil {
				t.Fatal(err)
			}
			claims := members{"iss": "me", "aud": []string{"a", "b"}, "iat": now - 60, "exp": now + 300, "jti": "j"}
			for name, value := range test.claims {
				if claims[name] = value; value == nil {
					delete(claims, name)
				}
			}
			payload, err := json.Marshal(claims)
			if err != nil {
				t.Fatal(err)
			}
			signed, err := signer.Sign(payload)
			if err != nil {
				t.Fatal(err)
			}
			text, err := signed.CompactSerialize()
			if err != nil {
				t.Fatal(err)
			}
			if got := do(t, client, postForm(url.Values{"assertion": {text}})).status; got != test.want {
				t.Errorf("status = %d, want %d", got, test.want)
			}
		})
	}
}

// TestClientCertificateOfAnAccount sends token requests with the account's certificate, another
// account's, and none.
func TestClientCertificateOfAnAccount(t *testing.T) {
	definition := method("certificate, key", `token_request: {url: "https://api.example.test/oauth/token", body: NONE, client_authentication: NONE, grant_type: "",
		client_certificate: {certificate: "${certificate}", private_key: "${key}"}}, headers: [{name: Authorization, value: "Bearer ${token}"}]`)
	for name, startClient := range clients() {
		t.Run(name, func(t *testing.T) {
			sim, client := startClient(t)
			values := addAccount(t, sim, definition, simulator.AccountConfig{}).Values()
			other := addAccount(t, sim, definition, simulator.AccountConfig{})
			other.RejectKey()
			for what, test := range map[string]struct {
				values map[string]string
				want   int
			}{
				"own": {values, 200}, "another": {other.Values(), 401}, "none": {nil, 401},
			} {
				request := post(exampleTokens, "", "")
				if test.values != nil {
					pair, err := tls.X509KeyPair([]byte(test.values["certificate"]), []byte(test.values["key"]))
					if err != nil {
						t.Fatal(err)
					}
					request = request.WithContext(egress.WithClientCertificate(t.Context(), &pair))
				}
				if got := do(t, client, request).status; got != test.want {
					t.Errorf("%s: status = %d, want %d", what, got, test.want)
				}
			}
		})
	}
}

func TestClientCertificateOfATransport(t *testing.T) {
	sim, client := start(t)
	values := addAccount(t, sim, method("certificate, key", `token_request: {url: "https://api.example.test/oauth/token", body: NONE, client_authentication: NONE, grant_type: "",
		client_certificate: {certificate: "${certificate}", private_key: "${key}"}}, headers: [{name: Authorization, value: "Bearer ${token}"}]`), simulator.AccountConfig{}).Values()
	pair, err := tls.X509KeyPair([]byte(values["certificate"]), []byte(values["key"]))
	if err != nil {
		t.Fatal(err)
	}
	transport := sim.Transport()
	defer transport.CloseIdleConnections()
	transport.TLSClientConfig.Certificates = []tls.Certificate{pair}
	if got := do(t, client, post(exampleTokens, "", "")).status; got != 401 {
		t.Errorf("without a certificate: status = %d, want 401", got)
	}
	if got := do(t, &http.Client{Transport: transport}, post(exampleTokens, "", "")).status; got != 200 {
		t.Errorf("with the certificate: status = %d, want 200", got)
	}
}
