package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/console"
)

const canary = "canary-0f1e2d3c4b5a"

// TestHeaders checks the headers that protect a person, on answers of every kind.
func TestHeaders(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	foreign := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	for what, answer := range map[string]*answer{
		"a page":            w.get("/credentials", cookie),
		"a missing page":    w.get("/nothing", cookie),
		"the sign-in page":  w.get("/sign-in", nil),
		"a redirect":        w.get("/", nil),
		"a refused sign-in": w.send(http.MethodPost, "/sign-in", url.Values{"token": {"x"}}, nil),
		"a form":            w.send(http.MethodPost, "/sign-out", nil, cookie),
		"another method":    w.send(http.MethodPut, "/credentials", nil, cookie),
		"HEAD":              w.send(http.MethodHead, "/sign-in", nil, nil),
		"OPTIONS":           w.send(http.MethodOptions, "/credentials", nil, nil),
		"another host":      w.send(http.MethodGet, "/sign-in", nil, nil, func(r *http.Request) { r.Host = "evil.example" }),
		"another site":      w.send(http.MethodPost, "/sign-in", nil, nil, foreign),
		"a missing asset":   w.get("/assets/0000/console.css", nil),
		"a panic":           w.get("/credentials/panic", w.signIn("ann")),
	} {
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			"X-Frame-Options":         "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
			"Access-Control-Allow-Origin": "", "Strict-Transport-Security": "",
		} {
			if got := answer.Header.Get(name); got != want {
				t.Errorf("%s has the header %s: %q, want %q", what, name, got, want)
			}
		}
	}
}

// TestAssets checks that browsers keep the assets, which contain no secrets, and that they keep no
// answer about an asset of another version.
func TestAssets(t *testing.T) {
	w := newWorld(t, nil)
	page := w.get("/sign-in", nil).text
	_, rest, _ := strings.Cut(page, `href="/assets/`)
	name, _, _ := strings.Cut(rest, `"`)
	if answer := w.get("/assets/"+name, nil); answer.StatusCode != http.StatusOK || answer.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
		t.Errorf("%s has the status %d and Cache-Control: %s", name, answer.StatusCode, answer.Header.Get("Cache-Control"))
	}
	if answer := w.get("/assets/0000/console.css", nil); answer.StatusCode != http.StatusNotFound {
		t.Errorf("an asset of another version has the status %d", answer.StatusCode)
	}
}

// TestHosts checks which values of the header Host are accepted.
func TestHosts(t *testing.T) {
	local := config.Address{Network: "tcp", Address: address}
	for _, c := range []struct {
		config   config.Console
		accepted []string
		refused  []string
	}{
		{config.Console{Address: local},
			[]string{"127.0.0.1", "127.0.0.1:8081", "localhost:1", "LOCALHOST", "[::1]:8081", "127.9.9.9"},
			[]string{"", "evil.example", "evil.example:8081", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "0.0.0.0", "[::]"}},
		{config.Console{Address: local, URL: "https://broker.example"},
			[]string{"broker.example", "Broker.Example", "127.0.0.1:8081"},
			[]string{"broker.example:444", "a.broker.example", "evil.example"}},
		{config.Console{Address: config.Address{Network: "tcp", Address: ":8443", Remote: true}, URL: "https://broker.example:8443"},
			[]string{"broker.example:8443"},
			[]string{"broker.example", "localhost", "127.0.0.1:8443", "[::1]", ""}},
	} {
		w := newWorld(t, func(o *console.Options) { o.Config = &c.config })
		status := func(host string) int {
			return w.send(http.MethodGet, "/sign-in", nil, nil, func(r *http.Request) { r.Host = host }).StatusCode
		}
		for _, host := range c.accepted {
			if got := status(host); got != http.StatusOK {
				t.Errorf("with %+v, the host %q has the status %d", c.config, host, got)
			}
		}
		for _, host := range c.refused {
			if got := status(host); got != http.StatusMisdirectedRequest {
				t.Errorf("with %+v, the host %q has the status %d, want 421", c.config, host, got)
			}
		}
	}
}

// TestForeignRequests checks requests that pages of other sites cause. Only links are followed.
func TestForeignRequests(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	for _, c := range []struct {
		method, site, mode, destination, origin string
		want                                    int
	}{
		{"GET", "none", "navigate", "document", "", 200},
		{"GET", "same-origin", "cors", "empty", "", 200},
		{"GET", "cross-site", "navigate", "document", "", 200},
		{"GET", "same-site", "navigate", "document", "", 200},
		{"GET", "", "", "", "", 200}, // a program, or an old browser
		{"GET", "cross-site", "navigate", "iframe", "", 403},
		{"GET", "cross-site", "no-cors", "image", "", 403},
		{"GET", "cross-site", "no-cors", "script", "", 403},
		{"GET", "same-site", "cors", "empty", "http://127.0.0.1:9999", 403},
		{"HEAD", "cross-site", "no-cors", "empty", "", 403},
		{"POST", "cross-site", "navigate", "document", "https://evil.example", 403},
		{"POST", "same-site", "navigate", "document", "http://127.0.0.1:9999", 403},
		{"POST", "", "", "", "http://127.0.0.1:9999", 403},
		{"POST", "", "", "", "null", 403},
		{"POST", "", "", "", "http://" + address, 404},
		{"POST", "same-origin", "navigate", "document", "http://" + address, 404},
	} {
		path := "/credentials"
		if c.method == "POST" {
			path = "/nothing"
		}
		answer := w.send(c.method, path, nil, cookie, func(r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			for name, value := range map[string]string{"Sec-Fetch-Site": c.site, "Sec-Fetch-Mode": c.mode, "Sec-Fetch-Dest": c.destination, "Origin": c.origin} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
		})
		if answer.StatusCode != c.want {
			t.Errorf("%+v: the status is %d", c, answer.StatusCode)
		}
	}
}

// TestOtherMethods checks that the console answers no other methods, and has none of the API's paths.
func TestOtherMethods(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	for _, method := range []string{"PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
		if answer := w.send(method, "/credentials", nil, cookie); answer.StatusCode != http.StatusNotFound && answer.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s has the status %d", method, answer.StatusCode)
		}
	}
	for _, path := range []string{
		"/authmaterial.v1.CredentialService/ListCredentials", "/authmaterial.v1.BrokerService/GetAuthDecoration", "/metrics", "/livez", "/debug/pprof/",
	} {
		if answer := w.send(http.MethodPost, path, nil, cookie); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s has the status %d", path, answer.StatusCode)
		}
	}
	if answer := w.send(http.MethodGet, "/credentials/mail/delete", nil, cookie); answer.Header.Get("Location") != "/credentials/mail" {
		t.Errorf("a change by GET has the status %d", answer.StatusCode) // the API of this test panics if it is asked to delete
	}
}

// TestLargeForms checks the limit for the size of a form.
func TestLargeForms(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	for _, path := range []string{"/sign-in", "/add/acme/key"} {
		answer := w.send(http.MethodPost, path, url.Values{"token": {strings.Repeat("x", 1<<20)}, "values.key": {canary}}, cookie)
		if text := answer.text; answer.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(text, "The form is larger than 1 MiB, so nothing was saved.") || strings.Contains(text, canary) {
			t.Errorf("%s: a large form has the status %d:\n%s", path, answer.StatusCode, text)
		}
		answer = w.send(http.MethodPost, path, nil, cookie, func(r *http.Request) { r.Body = http.NoBody; r.URL.RawQuery = "%zz" })
		if answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: a malformed query has the status %d", path, answer.StatusCode)
		}
	}
	if w.api.created != nil {
		t.Error("a large form made a call")
	}
}

// TestPanic checks that neither the answer nor the log contains the value of a panic.
func TestPanic(t *testing.T) {
	w := newWorld(t, nil)
	answer := w.get("/credentials/panic", w.signIn("ann"))
	text := answer.text
	if answer.StatusCode != http.StatusInternalServerError || strings.Contains(text, canary) || !strings.Contains(text, "the broker's log has the reason") {
		t.Errorf("the answer is %d %s", answer.StatusCode, text)
	}
	if logged := w.logs.String(); !strings.Contains(logged, "panic in the console") || strings.Contains(logged, canary) {
		t.Errorf("the log is %s", logged)
	}
}

// TestCallsArePersons checks that each call of the API has the evidence of the person, and the address
// of the request.
func TestCallsArePersons(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	w.send(http.MethodGet, "/credentials", nil, cookie, func(r *http.Request) {
		r.RemoteAddr = "192.0.2.9:1"
		r.Header.Set("Authorization", "Bearer "+token("bob"))
		r.Header.Set("X-Forwarded-For", "203.0.113.5")
	})
	if e := w.api.evidence; e.Bearer.Reveal() != token("ann") || e.Address != "192.0.2.9:1" || e.UserID != nil || e.PrivateSocket {
		t.Errorf("the call has the evidence %+v", e)
	}
	w.api.evidence = authentication.Evidence{}
	if w.get("/credentials", nil); w.api.evidence.Address != "" {
		t.Error("a person who has not signed in made a call")
	}
}
