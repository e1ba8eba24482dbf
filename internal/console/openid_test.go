package console_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/console"
)

// answering is an issuer that gives the same answer to each request.
type answering struct {
	requests atomic.Int32
	body     io.Reader // nil: the issuer cannot be reached
}

// RoundTrip implements http.RoundTripper.
func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.requests.Add(1)
	if a.body == nil {
		return nil, errors.New("unreachable")
	}
	return &http.Response{StatusCode: http.StatusBadGateway, Status: "502 Bad Gateway", Body: io.NopCloser(a.body), Request: r}, nil
}

func newWorldWithIssuer(t *testing.T, issuer http.RoundTripper) *world {
	t.Helper()
	return newWorld(t, func(o *console.Options) {
		o.Config = &config.Console{Address: config.Address{Address: address}, URL: "http://" + address, OpenID: []config.OpenID{
			{Name: "corp", Issuer: "https://id.test", ClientID: "broker"},
		}}
		o.OpenIDTransport = func(config.OpenID) http.RoundTripper { return issuer }
	})
}

// TestIssuerOutOfReach checks that people who have not signed in cannot make the broker send many
// requests to an issuer.
func TestIssuerOutOfReach(t *testing.T) {
	issuer := new(answering)
	w := newWorldWithIssuer(t, issuer)
	for range 3 {
		answer := w.get("/sign-in/openid/corp", nil)
		if answer.StatusCode != http.StatusBadGateway || len(answer.cookies) > 0 || !strings.Contains(answer.text, "The issuer cannot be reached") {
			t.Errorf("the sign-in has the status %d", answer.StatusCode)
		}
	}
	if got := issuer.requests.Load(); got != 1 {
		t.Errorf("the issuer got %d requests at once", got)
	}
	w.clock.Advance(5 * time.Second)
	if w.get("/sign-in/openid/corp", nil); issuer.requests.Load() != 2 {
		t.Errorf("after 5 seconds, the issuer got %d requests", issuer.requests.Load())
	}
	if answer := w.get("/sign-in/openid/other", nil); answer.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown issuer has the status %d", answer.StatusCode)
	}
}

// endless counts the bytes that are read from it.
type endless struct{ read int }

// Read implements io.Reader.
func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return copy(p, strings.Repeat("x", len(p))), nil
}

// TestLargeAnswer checks that the answer of an issuer fills neither the memory nor the log.
func TestLargeAnswer(t *testing.T) {
	large := new(endless)
	w := newWorldWithIssuer(t, &answering{body: large})
	if answer := w.get("/sign-in/openid/corp", nil); answer.StatusCode != http.StatusBadGateway || large.read > 2<<20 {
		t.Errorf("the status is %d after %d bytes", answer.StatusCode, large.read)
	}
	w = newWorldWithIssuer(t, &answering{body: strings.NewReader(strings.Repeat("y", 100_000))})
	if w.get("/sign-in/openid/corp", nil); w.logs.Len() > 1000 || !strings.Contains(w.logs.String(), "502 Bad Gateway") {
		t.Errorf("the log has %d bytes", w.logs.Len())
	}
}

// TestCallbackWithoutLogin checks answers of an issuer to a browser that did not begin a sign-in.
func TestCallbackWithoutLogin(t *testing.T) {
	w := newWorldWithIssuer(t, new(answering))
	for _, value := range []string{"", "corp~s~n~v", "other~state~n~v", "corp~state", "~~~"} {
		answer := w.send(http.MethodGet, "/sign-in/callback?state=state&code="+canary, nil, nil, func(r *http.Request) {
			for _, name := range []string{"broker-login", "__Host-broker-login"} {
				r.AddCookie(&http.Cookie{Name: name, Value: value})
			}
		})
		if text := answer.text; answer.StatusCode != http.StatusUnauthorized || strings.Contains(text, canary) {
			t.Errorf("with the cookie %q, the status is %d", value, answer.StatusCode)
		}
	}
}
