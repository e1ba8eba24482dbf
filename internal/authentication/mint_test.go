package authentication_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// now is the time at which the fake clocks of the tests start.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var (
	keyRS      = authtest.NewRSA("rs")
	keyES      = authtest.NewEC("es")
	keyES2     = authtest.NewEC("es2")
	keyEd      = authtest.NewEd("ed")
	keyUnknown = authtest.NewEC("unknown")
)

// mint returns a token of the issuer issuer.test for the caller alice, which is valid for an hour.
// The arguments replace members of the token's header and claims. A member or claim with the value
// nil is removed.
func mint(k authtest.Key, members map[string]any, claims authtest.Claims) string {
	return k.Mint(members, authtest.Claims{
		"iss": "https://issuer.test", "aud": "broker", "sub": "alice", "exp": now.Add(time.Hour).Unix(),
	}.With(claims))
}

// fileIssuer returns the issuer issuer.test with keys from a file.
func fileIssuer(name string, keys ...authtest.Key) authentication.Issuer {
	parsed, err := authentication.ParseKeys(authtest.KeySet(keys...))
	if err != nil {
		panic(err)
	}
	return authentication.Issuer{
		Name: name, Issuer: "https://issuer.test", Audiences: []string{"broker", "other-broker"}, Keys: parsed,
	}
}

// jwt authenticates tokens of the issuers that a test last passed to its method `use`.
type jwt struct {
	*authentication.KeyFetcher
	*authentication.Issuers
}

func newJWT(t testing.TB, issuers ...authentication.Issuer) *jwt {
	t.Helper()
	return newJWTWith(t, authentication.KeyOptions{Clock: clockwork.NewFakeClockAt(now)}, issuers...)
}

func newJWTWith(t testing.TB, options authentication.KeyOptions, issuers ...authentication.Issuer) *jwt {
	t.Helper()
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Changed == nil {
		options.Changed = func() {}
	}
	j := &jwt{KeyFetcher: authentication.NewKeyFetcher(options)}
	t.Cleanup(j.Close)
	j.use(issuers...)
	return j
}

func (j *jwt) use(issuers ...authentication.Issuer) {
	j.Issuers = j.Prepare(issuers)
	j.Use(j.Issuers)
}
