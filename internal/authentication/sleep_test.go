package authentication_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/clock/clocktest"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// TestKeysAreFetchedAfterSleep checks that keys are fetched after the machine slept, even if no
// call arrives, and that a failed request is repeated after the machine slept.
func TestKeysAreFetchedAfterSleep(t *testing.T) {
	machine := clocktest.NewMachine()
	r := newRemote(t, func(_ *authtest.KeyServer, _ *authentication.Issuer, o *authentication.KeyOptions) {
		o.Clock, o.MaxAge = machine.Clock(), time.Hour
	}, keyES)
	awaitRequests(t, r.server, 1)
	token := mint(keyES, nil, authtest.Claims{"iat": machine.WallTime().Unix(), "exp": machine.WallTime().Add(time.Hour).Unix()})
	if _, err := r.jwt.Authenticate(t.Context(), bearer(token)); err != nil { // this call waits until the keys are fetched
		t.Fatal(err)
	}
	r.server.Fails()
	machine.Sleep(2 * time.Hour)
	awaitRequests(t, r.server, 2)
	eventually(t, "the failure is logged", func() bool { return strings.Contains(r.log.String(), "cannot be fetched") })
	r.server.Has(keyES)
	machine.Sleep(15 * time.Second) // the machine sleeps longer than the pause after a failed request
	awaitRequests(t, r.server, 3)
}

func awaitRequests(t *testing.T, server *authtest.KeyServer, n int64) {
	t.Helper()
	late := time.After(30 * time.Second)
	for server.Requests() < n {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-late:
			t.Fatalf("after 30s the server has received %d requests, want %d", server.Requests(), n)
		}
	}
}

// TestIdentitiesEndByTheWallClock corrects the wall clock while the broker remembers a token and a
// certificate. The token and the certificate must expire by the corrected time.
func TestIdentitiesEndByTheWallClock(t *testing.T) {
	machine := clocktest.NewMachine()
	clock := machine.Clock()
	machine.Correct(-2 * time.Hour)
	authority := authtest.NewAuthority("ca", machine.WallTime())
	leaf := authority.IssueSPIFFE("spiffe://example.test/mailer").Leaf
	end := leaf.NotAfter
	token := mint(keyES, nil, authtest.Claims{"iat": machine.WallTime().Unix(), "exp": end.Add(-30 * time.Second).Unix()}) // the broker allows 30 s of difference between clocks
	jwt := newJWTWith(t, authentication.KeyOptions{Clock: clock}, fileIssuer("main", keyES))
	mutual := authentication.NewMutualTLS(authtest.Pool(authority), clock)
	want := func(good bool) {
		t.Helper()
		if _, err := jwt.Authenticate(t.Context(), bearer(token)); (err == nil) != good {
			t.Errorf("the error for the token is %v; the token must be accepted: %v", err, good)
		}
		if _, err := mutual.Authenticate(t.Context(), authentication.Evidence{Certificates: []*x509.Certificate{leaf}}); (err == nil) != good {
			t.Errorf("the error for the certificate is %v; the certificate must be accepted: %v", err, good)
		}
	}
	want(true)
	machine.Correct(end.Sub(machine.WallTime()) - time.Minute)
	want(true)
	machine.Sleep(2 * time.Minute)
	want(false)
	machine.Correct(-2 * time.Minute)
	want(true)
}
