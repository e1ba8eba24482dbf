package console_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/fault"
)

func (w *world) expectRecords(what string, want ...string) {
	w.Helper()
	if got := w.recorded(); !slices.Equal(got, want) {
		w.Errorf("%s: the audit records are\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestAudit checks the audit records of sign-ins, sign-outs and links.
func TestAudit(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	w.expectRecords("a token", "token:ann token 192.0.2.1:1234 sign_in token OK")
	w.get("/credentials", cookie)
	w.send(http.MethodPost, "/sign-out", nil, cookie)
	w.expectRecords("a sign-out", "token:ann token 192.0.2.1:1234 sign_out  OK")
	w.send(http.MethodPost, "/sign-out", nil, cookie)
	w.expectRecords("a sign-out without a session")
	w.send(http.MethodPost, "/sign-in", url.Values{"token": {token(canary)}}, nil)
	w.send(http.MethodPost, "/sign-in", url.Values{"token": {canary}}, nil)
	refused := "unknown none 192.0.2.1:1234 sign_in token CALLER_UNAUTHENTICATED"
	w.expectRecords("refused tokens", refused, refused)

	code := w.link()
	w.expectRecords("a new link", "uid:7 peer_user unix create_sign_in_link  OK")
	w.use(code)
	w.use(code)
	w.expectRecords("a link that is used twice", "uid:7 peer_user 192.0.2.1:2 sign_in link OK", "unknown none 192.0.2.1:2 sign_in link CALLER_UNAUTHENTICATED")
	user := uint32(7)
	if location, _, err := w.SignInLink(t.Context(), authentication.Evidence{UserID: &user, Address: "unix"}); fault.From(err).Reason != fault.AccessDenied || location != "" {
		t.Errorf("a caller at a socket that others can open got the link %q (%v)", location, err)
	}
	w.expectRecords("a denied link", "uid:7 peer_user unix create_sign_in_link  ACCESS_DENIED")
}

// TestAuditOfIssuer checks the audit records of sign-ins at an issuer that is out of reach, or refuses.
func TestAuditOfIssuer(t *testing.T) {
	w := newWorldWithIssuer(t, new(answering))
	login := func(r *http.Request) {
		gone := w.get("/sign-in/callback", nil).cookies[0] // its name is random
		r.AddCookie(&http.Cookie{Name: gone.Name, Value: "corp~state~n~v~%2F"})
	}
	for query, want := range map[string]string{
		"state=state&code=" + canary: "The broker did not accept the answer of the issuer.", "state=state&error=denied": "The issuer corp did not sign you in (denied).",
		"state=other": "began in another browser",
	} {
		answer := w.send(http.MethodGet, "/sign-in/callback?"+query, nil, nil, login)
		if answer.StatusCode != http.StatusUnauthorized || !strings.Contains(answer.text, want) {
			t.Errorf("%s: the answer is %d %s", query, answer.StatusCode, answer.text)
		}
		w.expectRecords(query, "unknown none 192.0.2.1:1234 sign_in oidc:corp CALLER_UNAUTHENTICATED")
	}
	w.get("/sign-in/callback?state=state", nil)
	w.expectRecords("an answer to a browser that did not begin a sign-in")
}

// TestUnwrittenRecords checks that nobody gets a session or link without an audit record, and that a
// session ends nevertheless.
func TestUnwrittenRecords(t *testing.T) {
	w := newWorld(t, nil)
	cookie, code := w.signIn("ann"), w.link()
	w.unwritten = true
	for _, form := range []url.Values{{"token": {token("ann")}}, {"token": {"wrong"}}, {"code": {code}}} {
		answer := w.send(http.MethodPost, "/sign-in", form, nil)
		if answer.StatusCode != http.StatusInternalServerError || len(answer.cookies) > 0 || !strings.Contains(answer.text, "The audit record could not be written.") {
			t.Errorf("a sign-in is answered %d, with the cookies %v", answer.StatusCode, answer.cookies)
		}
	}
	location, _, err := w.SignInLink(t.Context(), authentication.Evidence{PrivateSocket: true})
	if known := new(fault.Error); !errors.As(err, &known) || known.Reason != fault.Internal || location != "" {
		t.Errorf("the link is %q (%v)", location, err)
	}
	for range 100 { // more would be too many unused links
		_, _, _ = w.SignInLink(t.Context(), authentication.Evidence{PrivateSocket: true})
	}
	answer := w.send(http.MethodPost, "/sign-out", nil, cookie)
	if answer.StatusCode != http.StatusInternalServerError || !strings.Contains(answer.text, "You are signed out, but the audit record could not be written.") {
		t.Errorf("a sign-out is answered %d", answer.StatusCode)
	}
	if w.isSignedIn(cookie) {
		t.Error("the session is still valid after the sign-out")
	}
	w.unwritten = false
	w.link()
}

// TestManyRefusals checks that refused sign-ins over the limit have no records.
func TestManyRefusals(t *testing.T) {
	w := newWorld(t, nil)
	w.limited = true
	if answer := w.send(http.MethodPost, "/sign-in", url.Values{"token": {"wrong"}}, nil); answer.StatusCode != http.StatusTooManyRequests {
		t.Errorf("the status is %d", answer.StatusCode)
	}
	w.expectRecords("a refusal over the limit")
	w.signIn("ann")
	w.expectRecords("a sign-in", "token:ann token 192.0.2.1:1234 sign_in token OK")
}
