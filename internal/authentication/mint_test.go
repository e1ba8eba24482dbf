package authentication_test

import (
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// now is the time of tests without a network.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var (
	keyRS      = authtest.NewRSA("rs")
	keyES      = authtest.NewEC("es")
	keyES2     = authtest.NewEC("es2")
	keyEd      = authtest.NewEd("ed")
	keyUnknown = authtest.NewEC("unknown")
)

// mint returns a token of issuer.test for alice at the broker, for an hour from now.
// Members and claims replace those; a nil one removes it.
func mint(k authtest.Key, members map[string]any, claims authtest.Claims) string {
	return k.Mint(members, authtest.Claims{
		"iss": "https://issuer.test", "aud": "broker", "sub": "alice", "exp": now.Add(time.Hour).Unix(),
	}.With(claims))
}

// fileIssuer is issuer.test with these keys in a file.
func fileIssuer(name string, keys ...authtest.Key) authentication.Issuer {
	parsed, err := authentication.ParseKeys(authtest.KeySet(keys...))
	if err != nil {
		panic(err)
	}
	return authentication.Issuer{
		Name: name, Issuer: "https://issuer.test", Audiences: []string{"broker", "other-broker"}, Keys: parsed,
	}
}

func newJWT(t testing.TB, issuers ...authentication.Issuer) *authentication.JWT {
	t.Helper()
	jwt := authentication.NewJWT(authentication.JWTOptions{Clock: clockwork.NewFakeClockAt(now)})
	t.Cleanup(jwt.Close)
	use(t, jwt, issuers...)
	return jwt
}

// use has a JWT use these issuers.
func use(t testing.TB, jwt *authentication.JWT, issuers ...authentication.Issuer) {
	t.Helper()
	prepared, err := jwt.Prepare(issuers)
	if err != nil {
		t.Fatal(err)
	}
	jwt.Use(prepared)
}
