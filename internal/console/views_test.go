package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/console"
)

// TestAddDetails checks that a new credential gets the labels and the expiry of the form, and that the
// form shows their problems at their fields.
func TestAddDetails(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	form := func(labels, expires string) url.Values {
		return url.Values{
			"display_name": {"Mail"}, "values.account": {"a"}, "values.key": {"k"}, "labels": {labels}, "secret_expire_time": {expires}, "do": {"save"},
		}
	}
	for problem, c := range map[string]url.Values{
		`id="error-credential.labels" data-for="credential.labels">Write key=value on each line, such as team=growth.`: form("team", ""),
		`data-for="credential.secret_expire_time">Write the date as year-month-day, such as 2027-01-31.`:               form("", "31 Jan"),
	} {
		w.wantText(problem, w.send(http.MethodPost, "/add/acme/key", c, cookie), http.StatusUnprocessableEntity, problem)
	}
	if w.api.created != nil {
		t.Error("a form with problems made a call")
	}
	w.send(http.MethodPost, "/add/acme/key", form("team=growth\r\nstage = test", "2027-01-31"), cookie)
	made := w.api.created.GetCredential()
	if got := made.GetLabels(); len(got) != 2 || got["team"] != "growth" || got["stage"] != "test" {
		t.Errorf("the labels are %v", got)
	}
	if got := made.GetSecretExpireTime().AsTime(); !got.Equal(time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("the secret expires at %s", got)
	}
}

// TestKeepWarm checks that the form offers to keep a token warm only where callers get a token, and that
// an edit does not change a setting that the form does not show.
func TestKeepWarm(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	mail.KeepWarm = true
	t.Cleanup(func() { mail.KeepWarm = false })
	if got := w.get("/credentials/mail/edit", cookie); strings.Contains(got.text, "keep_warm") {
		t.Error("the form offers to keep a static key warm")
	}
	w.send(http.MethodPost, "/credentials/mail/edit", url.Values{"display_name": {"Mail"}}, cookie)
	if !w.api.updated.GetCredential().GetKeepWarm() {
		t.Error("the edit changed a setting that the form does not show")
	}
}

// TestEmptyList checks what the list shows before the first credential is added.
func TestEmptyList(t *testing.T) {
	w := newWorld(t, func(o *console.Options) { o.HasStore = func() bool { return false } })
	w.api.empty = true
	got := w.get("/credentials", w.signIn("ann"))
	w.wantText("the empty list", got, http.StatusOK, `href="/credentials?deleted=1"`)
	if strings.Contains(got.text, `role="search"`) || strings.Count(got.text, "Add a credential") != 1 {
		t.Errorf("the empty list offers a search, or adds a credential twice: %s", got.text)
	}
	w.wantText("without a store", w.get("/credentials", w.signIn("bob")), http.StatusOK, "add a <code>store</code> to the configuration file")
	later := w.get("/credentials?page=x", w.signIn("ann"))
	w.wantText("an empty later page", later, http.StatusOK, `role="search"`, "Nothing on this page", `<a href="/credentials">Show the first page</a>`)
	if strings.Contains(later.text, "There are no credentials yet") {
		t.Error("an empty later page says that there are no credentials yet")
	}
	w.wantText("a search without a result", w.get("/credentials?search=x", w.signIn("ann")), http.StatusOK, `role="search"`, "No credential matches")
}

// TestLabelWithoutValue checks that a label without a value is refused: the API's filter has no
// condition for a key alone.
func TestLabelWithoutValue(t *testing.T) {
	w := newWorld(t, nil)
	w.get("/credentials?label=team", w.signIn("ann"))
	if w.api.filter != `"team"` {
		t.Errorf("the filter is %s", w.api.filter)
	}
}

// TestSignedInAlready checks that the sign-in page does not ask people who have signed in, unless they
// open a link.
func TestSignedInAlready(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	if got := w.get("/sign-in?next=/fleet", cookie); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/fleet" {
		t.Errorf("the sign-in page answers %d %v", got.StatusCode, got.Header)
	}
	w.wantText("a link", w.get("/sign-in?code=x", cookie), http.StatusOK, "You opened a sign-in link.")
	delete(w.callers, token("ann"))
	if got := w.get("/sign-in", cookie); got.StatusCode != http.StatusSeeOther || w.isSignedIn(cookie) {
		t.Error("a session whose token was removed is valid")
	}
	w.wantText("after the session has ended", w.get("/sign-in", cookie), http.StatusOK, "Sign in with the token")
}

// TestNewCredentialPage checks the parts of a credential's page that depend on what has just happened.
func TestNewCredentialPage(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	commands := "<details open>\n    <summary>Commands</summary>"
	w.wantText("after the form", w.get("/credentials/mail?done=created", cookie), http.StatusOK, commands)
	if strings.Contains(w.get("/credentials/mail", cookie).text, commands) {
		t.Error("the commands are always open")
	}
	w.wantText("the form that rotates", w.get("/credentials/mail/rotate", cookie), http.StatusOK, `<a href="/credentials" aria-current="page">`)
}
