package console_test

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/console"
	"github.com/authmaterial/broker/internal/fault"
)

// TestCookies checks the session's cookie, with and without TLS.
func TestCookies(t *testing.T) {
	plain, other := newWorld(t, nil).signIn("ann"), newWorld(t, nil).signIn("ann")
	if !regexp.MustCompile(`^broker-[A-Z2-7]{8}$`).MatchString(plain.Name) || plain.Name == other.Name || plain.Secure {
		t.Errorf("without TLS, the cookies of two consoles are %v and %v", plain, other)
	}
	w := newWorld(t, func(o *console.Options) { o.Secure = true })
	secure := w.signIn("ann")
	if secure.Name != "__Host-broker" || !secure.Secure {
		t.Errorf("with TLS, the cookie is %v", secure)
	}
	if got := w.get("/sign-in", nil).Header.Get("Strict-Transport-Security"); got != "max-age=31536000" {
		t.Errorf("with TLS, Strict-Transport-Security is %q", got)
	}
	for _, cookie := range []*http.Cookie{plain, secure} {
		if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Domain != "" || cookie.MaxAge != 8*60*60 || len(cookie.Value) < 26 {
			t.Errorf("the cookie is %v", cookie)
		}
	}
}

// TestSessions checks when a session ends.
func TestSessions(t *testing.T) {
	w := newWorld(t, nil)
	first, second, bob := w.signIn("ann"), w.signIn("ann"), w.signIn("bob")
	if !w.isSignedIn(first) || !w.isSignedIn(second) || !w.isSignedIn(bob) {
		t.Fatal("a session is not valid")
	}
	if w.isSignedIn(&http.Cookie{Name: first.Name, Value: first.Value + "x"}) || w.isSignedIn(&http.Cookie{Name: first.Name}) {
		t.Error("a wrong cookie is valid")
	}
	answer := w.send(http.MethodPost, "/sign-out", nil, first)
	if gone := answer.cookies[0]; gone.Name != first.Name || gone.MaxAge >= 0 || w.isSignedIn(first) || !w.isSignedIn(second) {
		t.Errorf("after the sign-out, the cookie is %v", gone)
	}
	w.clock.Advance(8*time.Hour - time.Second)
	if !w.isSignedIn(second) {
		t.Error("a session ends before 8 hours")
	}
	w.clock.Advance(time.Second)
	if w.isSignedIn(second) {
		t.Error("a session is valid after 8 hours")
	}
}

// TestSessionFixation checks that a sign-in makes a new session, and ends the one that the browser had.
func TestSessionFixation(t *testing.T) {
	w := newWorld(t, nil)
	mine := w.signIn("bob")
	answer := w.send(http.MethodPost, "/sign-in", url.Values{"token": {token("ann")}}, mine)
	if fresh := answer.cookies[0]; fresh.Value == mine.Value || !w.isSignedIn(fresh) || w.isSignedIn(mine) {
		t.Error("the session before a sign-in stays valid")
	}
	chosen := &http.Cookie{Name: mine.Name, Value: "CHOSENBYSOMEBODYELSE"}
	w.send(http.MethodPost, "/sign-in", url.Values{"token": {token("ann")}}, chosen)
	if w.isSignedIn(chosen) {
		t.Error("a value that somebody has chosen is valid after a sign-in")
	}
}

// TestRemovedToken checks that a session ends when its token is removed, or belongs to somebody else.
func TestRemovedToken(t *testing.T) {
	w := newWorld(t, nil)
	ann, bob := w.signIn("ann"), w.signIn("bob")
	delete(w.callers, token("ann"))
	w.callers[token("bob")] = access.Caller{Name: "token:eve", Method: authentication.MethodToken}
	if w.isSignedIn(ann) || w.isSignedIn(bob) {
		t.Error("a session is valid after its token was removed")
	}
	w.callers[token("ann")] = access.Caller{Name: "token:ann", Method: authentication.MethodToken}
	if w.isSignedIn(ann) {
		t.Error("a session is valid again after its token was added again")
	}
}

// TestUnavailable checks that a session does not end while callers cannot be identified.
func TestUnavailable(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	w.failure = fault.New(fault.AuthenticationUnavailable, "the keys cannot be fetched")
	if answer := w.get("/credentials", cookie); answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the status is %d", answer.StatusCode)
	}
	if w.failure = nil; !w.isSignedIn(cookie) {
		t.Error("the session has ended")
	}
}

// TestManySessions checks the limit for the sessions of one caller.
func TestManySessions(t *testing.T) {
	w := newWorld(t, nil)
	bob, oldest := w.signIn("bob"), w.signIn("ann")
	w.clock.Advance(time.Second)
	next := w.signIn("ann")
	for range 19 {
		w.signIn("ann")
	}
	if w.isSignedIn(oldest) || !w.isSignedIn(next) || !w.isSignedIn(bob) {
		t.Error("the 21st session does not end the oldest one of its caller only")
	}
}

// TestRefusedSignIns checks sign-ins without a valid proof.
func TestRefusedSignIns(t *testing.T) {
	w := newWorld(t, nil)
	w.callers[token("local")] = access.Caller{Name: access.Local, Method: authentication.MethodNone} // without authentication, each token counts as none
	w.callers["ey.a.jwt"] = access.Caller{Name: "jwt:ci:x", Method: authentication.MethodJWT}
	for text, want := range map[string]string{
		"":               "This is not a token of the broker.",
		"ey.a.jwt":       "This is not a token of the broker.",
		token(canary):    "No accepted token was sent.",
		token("local"):   "The token was not accepted.",
		" " + token("x"): "No accepted token was sent.",
	} {
		answer := w.send(http.MethodPost, "/sign-in", url.Values{"token": {text}}, nil)
		if page := answer.text; answer.StatusCode != http.StatusUnauthorized || len(answer.cookies) > 0 || !strings.Contains(page, want) || strings.Contains(page, canary) {
			t.Errorf("%q: the status is %d, the cookies are %v", text, answer.StatusCode, answer.cookies)
		}
	}
	if answer := w.send(http.MethodPost, "/sign-in?token="+token("ann"), nil, nil); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("a token in the address has the status %d", answer.StatusCode)
	}
	if strings.Contains(w.logs.String(), canary) {
		t.Errorf("the log is %s", w.logs.String())
	}
}

// TestWhereSignInLeads checks that a sign-in leads only to pages of the console.
func TestWhereSignInLeads(t *testing.T) {
	w := newWorld(t, nil)
	for next, want := range map[string]string{
		"": "/", "/credentials/mail": "/credentials/mail", "/credentials?search=a%2Fb&page=x": "/credentials?search=a%2Fb&page=x",
		"https://evil.example": "/", "//evil.example": "/", `/\evil.example`: "/", "/\t/evil.example": "/", "evil.example": "/",
		"javascript:alert(1)": "/", "/a\r\nSet-Cookie: x=y": "/", "///evil.example": "/", " //evil.example": "/", "http:evil.example": "/", "/%zz": "/",
		"/.//evil.example": "/evil.example", "/..//evil.example": "/evil.example",
	} {
		answer := w.send(http.MethodPost, "/sign-in", url.Values{"token": {token("ann")}, "next": {next}}, nil)
		if got := answer.Header.Get("Location"); answer.StatusCode != http.StatusSeeOther || got != want {
			t.Errorf("%q leads to %q, want %q", next, got, want)
		}
	}
	if page := w.get("/sign-in?next="+url.QueryEscape(`"><script>`), nil).text; strings.Contains(page, "<script>") {
		t.Error("the sign-in page contains the script in its address")
	}
}

// link returns the code of a new link for the user 7.
func (w *world) link() string {
	w.Helper()
	user := uint32(7)
	location, expires, err := w.SignInLink(w.Context(), authentication.Evidence{UserID: &user, PrivateSocket: true, Address: "unix"})
	if err != nil {
		w.Fatal(err)
	}
	code, ok := strings.CutPrefix(location, "http://"+address+"/sign-in?code=")
	if !ok || len(code) < 26 || expires.Sub(w.clock.Now()) != 5*time.Minute {
		w.Fatalf("the link is %s until %v", location, expires)
	}
	return code
}

func (w *world) use(code string) *answer {
	w.Helper()
	return w.send(http.MethodPost, "/sign-in", url.Values{"code": {code}}, nil, func(r *http.Request) { r.RemoteAddr = "192.0.2.1:2" })
}

// TestLink checks that a link works once, within 5 minutes, and by a POST.
func TestLink(t *testing.T) {
	w := newWorld(t, nil)
	code := w.link()
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if answer := w.send(method, "/sign-in?code="+code, nil, nil); answer.StatusCode != http.StatusOK || len(answer.cookies) > 0 {
			t.Errorf("%s has the status %d and the cookies %v", method, answer.StatusCode, answer.cookies)
		}
	}
	answer := w.use(code)
	if answer.StatusCode != http.StatusSeeOther || !w.isSignedIn(answer.cookies[0]) {
		t.Fatalf("the link has the status %d", answer.StatusCode)
	}
	if e := w.api.evidence; e.UserID == nil || *e.UserID != 7 || !e.PrivateSocket || e.Address != "192.0.2.1:1234" {
		t.Errorf("the session has the evidence %+v", e)
	}
	if again := w.use(code); again.StatusCode != http.StatusUnauthorized || len(again.cookies) > 0 {
		t.Errorf("the second use has the status %d", again.StatusCode)
	}
	if logged := w.logs.String(); strings.Contains(logged, code) || !strings.Contains(logged, "caller=uid:7 method=peer_user address=192.0.2.1:2") {
		t.Errorf("the log is %s", logged)
	}
	late := w.link()
	w.clock.Advance(5 * time.Minute)
	if answer := w.use(late); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("after 5 minutes, a link has the status %d", answer.StatusCode)
	}
	if answer := w.use("WRONG"); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong code has the status %d", answer.StatusCode)
	}
}

// TestLinkOnce uses one link many times at once.
func TestLinkOnce(t *testing.T) {
	w := newWorld(t, nil)
	code, begun := w.link(), atomic.Int32{}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if w.use(code).StatusCode == http.StatusSeeOther {
				begun.Add(1)
			}
		})
	}
	if all.Wait(); begun.Load() != 1 {
		t.Errorf("%d people signed in with one link", begun.Load())
	}
}

// TestManyLinks checks the limit for unused links, and that links do not count after 5 minutes.
func TestManyLinks(t *testing.T) {
	w := newWorld(t, nil)
	for range 100 {
		w.link()
	}
	_, _, err := w.SignInLink(t.Context(), authentication.Evidence{PrivateSocket: true})
	if known := new(fault.Error); !errors.As(err, &known) || known.Reason != fault.RateLimited {
		t.Errorf("the link 101 has the error %v", err)
	}
	w.clock.Advance(5 * time.Minute)
	w.link()
}

// TestLinkAddress checks to which address a link leads.
func TestLinkAddress(t *testing.T) {
	w := newWorld(t, func(o *console.Options) {
		o.Config, o.Secure = &config.Console{Address: config.Address{Address: ":8443", Remote: true}, URL: "https://broker.example"}, true
	})
	if location, _, err := w.SignInLink(t.Context(), authentication.Evidence{PrivateSocket: true}); err != nil || !strings.HasPrefix(location, "https://broker.example/sign-in?code=") {
		t.Errorf("the link is %s (%v)", location, err)
	}
}

// TestLinkCommand checks the command for another link on the sign-in page. Strangers can see the page of
// a console for other machines, so that page does not contain the path of the socket.
func TestLinkCommand(t *testing.T) {
	socket := config.Address{Network: "unix", Address: "/run/my broker/b.sock"}
	for name, c := range map[string]struct {
		listen config.Listen
		remote bool
		want   string
	}{
		"a private socket":     {config.Listen{GRPC: socket, SocketMode: 0o600}, false, "run: broker console --address &#39;unix:///run/my broker/b.sock&#39;"},
		"a remote console":     {config.Listen{GRPC: socket, SocketMode: 0o600}, true, "run: broker console --address unix:///PATH/broker.sock"},
		"a socket for a group": {config.Listen{GRPC: socket, SocketMode: 0o660}, false, "start the broker again."},
		"TCP":                  {config.Listen{GRPC: config.Address{Network: "tcp", Address: "127.0.0.1:1"}, SocketMode: 0o600}, false, "start the broker again."},
	} {
		w := newWorld(t, func(o *console.Options) {
			o.Listen = c.listen
			o.Config = &config.Console{Address: config.Address{Network: "tcp", Address: address, Remote: c.remote}, URL: "http://" + address}
		})
		text := w.send(http.MethodPost, "/sign-in", url.Values{"code": {"used"}}, nil).text
		if !strings.Contains(text, c.want) || strings.Contains(w.get("/sign-in", nil).text, "broker console") != strings.HasPrefix(c.want, "run:") {
			t.Errorf("%s: the sign-in page is %s", name, text)
		}
	}
}
