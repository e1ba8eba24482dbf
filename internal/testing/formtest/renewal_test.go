package formtest_test

import (
	"strings"
	"testing"
	"time"
)

// TestSelfSignedJWTPerLifetime checks that a method that signs its own JWT signs one per lifetime, and
// sends no request.
func TestSelfSignedJWTPerLifetime(t *testing.T) {
	net := newInternet(t)
	c := testCase{
		Fields: "private_key*",
		Method: `{jwt: {algorithm: ES256, key: "${private_key}", lifetime: 10m, claims: {iss: me}}, headers: [{name: Authorization, value: "Bearer ${jwt}"}]}`,
		Values: map[string]string{"private_key": "made:p256"},
	}
	b, err := newBroker(t, net, c.configuration(t, net))
	if err != nil {
		t.Fatal(err)
	}
	signature := &signed{Key: "p256", Algorithm: "ES256"}
	ids := map[any]bool{}
	for lifetime := range 3 {
		first, failure := b.decoration()
		if failure != "" {
			t.Fatal(failure)
		}
		b.clock.Advance(time.Minute)
		if second, _ := b.decoration(); jwtPattern.FindString(second) != jwtPattern.FindString(first) {
			t.Error("another JWT was signed in the same lifetime")
		}
		_, claims := signature.open(t, jwtPattern.FindString(first))
		ids[claims["jti"]] = true
		if want := now.Add(time.Duration(lifetime) * 10 * time.Minute).Unix(); claims["iat"] != float64(want) {
			t.Errorf("the claim iat is %v, want %d", claims["iat"], want)
		}
		b.clock.Advance(9 * time.Minute)
	}
	if len(ids) != 3 || len(net.requests()) != 0 {
		t.Errorf("%d different JWTs were signed, want 3, and %d requests were sent, want 0", len(ids), len(net.requests()))
	}
}

// TestRequestsOfARenewal checks that a renewal sends all requests again, with another JWT.
func TestRequestsOfARenewal(t *testing.T) {
	net := newInternet(t)
	for _, token := range []string{"one", "two"} {
		net.answers = append(net.answers, "200\n\n{\"id\":\"for-"+token+"\"}", "200\n\n{\"access_token\":\""+token+"\",\"expires_in\":600}")
	}
	c := testCase{
		Fields: "private_key*",
		Method: `
token_request:
  url: https://auth.example.com/${login.id}
  body: NONE
  client_authentication: NONE
  headers: [{name: Authorization, value: "Bearer ${jwt}"}]
  jwt: {algorithm: ES256, key: "${private_key}", claims: {iss: me}}
  first: [{id: login, method: GET, url: "https://auth.example.com/login", body: NONE, values: {id: id}}]
headers: [{name: Authorization, value: "Bearer ${token}"}]`,
		Values: map[string]string{"private_key": "made:p256"},
	}
	b, err := newBroker(t, net, c.configuration(t, net))
	if err != nil {
		t.Fatal(err)
	}
	for i, token := range []string{"one", "two"} {
		if i > 0 {
			b.clock.Advance(10 * time.Minute) // not after the last token, whose renewal would start then
		}
		if got, failure := b.decoration(); !strings.Contains(got, "Bearer "+token+"\n") {
			t.Errorf("the decoration is %q (%s), want the token %s", got, failure, token)
		}
	}
	sent := net.requests()
	if len(sent) != 4 {
		t.Fatalf("%d requests were sent, want 4", len(sent))
	}
	for i, line := range []string{"GET /login ", "POST /for-one ", "GET /login ", "POST /for-two "} {
		if !strings.HasPrefix(sent[i], line) {
			t.Errorf("request %d does not begin with %s", i+1, line)
		}
	}
	if first := jwtPattern.FindString(sent[1]); first == "" || first == jwtPattern.FindString(sent[3]) {
		t.Error("two requests have the same JWT, or none")
	}
}
