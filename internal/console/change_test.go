package console_test

import (
	"errors"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/console"
)

// TestEdit checks that the form changes only what the person has changed, although it shows neither the
// time of an expiry nor the lines and spaces in a label.
func TestEdit(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	const shown = "note=two\r\nlines=2\r\nteam= growth \r\n" // as browsers send it
	form := url.Values{"display_name": {"Mail"}, "description": {"one\r\ntwo"}, "labels": {shown}, "secret_expire_time": {"2027-01-31"}, "etag": {"1"}}
	send := func(field, value string) {
		t.Helper()
		changed := maps.Clone(form)
		changed.Set(field, value)
		if answer := w.send(http.MethodPost, "/credentials/mail/edit", changed, cookie); answer.Header.Get("Location") != "/credentials/mail?done=edited" {
			t.Errorf("%s=%s: the form is answered %d", field, value, answer.StatusCode)
		}
	}
	send("keep_warm", "1")
	got := w.api.updated.GetCredential()
	if got.GetDescription() != "one\ntwo" || !got.GetKeepWarm() {
		t.Errorf("the description is %q", got.GetDescription())
	}
	if labels := got.GetLabels(); labels["note"] != "two\nlines=2" || labels["team"] != " growth " || len(labels) != 2 {
		t.Errorf("the form changed the labels to %q", labels)
	}
	if at := got.GetSecretExpireTime().AsTime(); !at.Equal(mail.GetSecretExpireTime().AsTime()) {
		t.Errorf("the form changed the time of the expiry to %v", at)
	}
	send("labels", "team=sales\r\n\r\nstage = test")
	if labels := w.api.updated.GetCredential().GetLabels(); labels["team"] != "sales" || labels["stage"] != "test" || len(labels) != 2 {
		t.Errorf("the labels are %q", labels)
	}
	send("secret_expire_time", "2028-02-29")
	if at := w.api.updated.GetCredential().GetSecretExpireTime().AsTime(); !at.Equal(time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("the expiry is %v", at)
	}
	send("secret_expire_time", "")
	if at := w.api.updated.GetCredential().GetSecretExpireTime(); at != nil {
		t.Errorf("the expiry is %v, want none", at)
	}
}

// TestRotateButtons checks what each button of the form does, and that a form without a button gives
// callers no values that were not verified.
func TestRotateButtons(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	for button, want := range map[string][2]bool{"rotate": {true, true}, "use": {false, true}, "store": {}, "": {}, "other": {}} {
		w.send(http.MethodPost, "/credentials/mail/rotate", url.Values{"do": {button}, "values.key": {canary}}, cookie)
		if got := [2]bool{w.api.version.GetVerify(), w.api.version.GetActivate()}; got != want {
			t.Errorf("the button %q verifies and activates: %v, want %v", button, got, want)
		}
	}
}

// TestCanaryCallers checks that the names of callers may have commas and spaces.
func TestCanaryCallers(t *testing.T) {
	w := newWorld(t, nil)
	form := url.Values{"do": {"canary"}, "version": {"2"}, "callers": {"subject:CN=mail er,O=Acme\r\n\r\n uid:7 \r\n"}}
	w.send(http.MethodPost, "/credentials/mail/activate", form, w.signIn("ann"))
	if want := []string{"subject:CN=mail er,O=Acme", "uid:7"}; !slices.Equal(w.api.active.GetCallers(), want) {
		t.Errorf("the callers are %q, want %q", w.api.active.GetCallers(), want)
	}
}

// complete is a form for a new credential.
var complete = url.Values{"display_name": {"Mail"}, "values.account": {"acc-1"}, "values.key": {canary}, "do": {"save"}}

// TestAdvice checks that error messages name the place of a problem and its remedy.
func TestAdvice(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	w.api.list = badField(t, "filter", "x")
	if answer := w.get("/credentials?label=!", cookie); answer.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(answer.text, "Write a label as key=value") {
		t.Errorf("a list with a wrong label is answered %d %s", answer.StatusCode, answer.text)
	}
	w.api.failure = connect.NewError(connect.CodeAlreadyExists, errors.New("the ID belongs to another credential"))
	answer := w.send(http.MethodPost, "/add/acme/key", complete, cookie)
	if want := `data-for="credential_id">The ID belongs to another credential.`; answer.StatusCode != http.StatusConflict || !strings.Contains(answer.text, want) || !strings.Contains(answer.text, "<details open>") {
		t.Errorf("a taken ID is answered %d %s", answer.StatusCode, answer.text)
	}
	w.api.failure = connect.NewError(connect.CodeAborted, errors.New("the credential has changed"))
	for path, want := range map[string]string{
		"/credentials/mail/activate": "This page shows the changes", "/credentials/mail/edit": `<a href="">Load the page again</a>`,
	} {
		if answer := w.send(http.MethodPost, path, url.Values{"version": {"1"}}, cookie); answer.StatusCode != http.StatusConflict || !strings.Contains(answer.text, want) {
			t.Errorf("%s after a change by somebody else is answered %d %s", path, answer.StatusCode, answer.text)
		}
	}
	w.api.list = connect.NewError(connect.CodeInternal, errors.New("internal error"))
	if answer := w.get("/credentials", cookie); answer.StatusCode != http.StatusInternalServerError || !strings.Contains(answer.text, "Internal error. The broker&#39;s log has the reason.") {
		t.Errorf("an internal error is answered %d %s", answer.StatusCode, answer.text)
	}
}

// TestMayAdd checks that a new credential is offered only to people who may add one.
func TestMayAdd(t *testing.T) {
	w := newWorld(t, nil)
	for name, want := range map[string]bool{"ann": true, "bob": false} {
		cookie := w.signIn(name)
		for _, path := range []string{"/credentials", "/providers/acme"} {
			if got := strings.Contains(w.get(path, cookie).text, `href="/add`); got != want {
				t.Errorf("%s offers a new credential to %s: %t", path, name, got)
			}
		}
	}
}

// TestListensAt checks that a link leads to the port of the listener if the configuration leaves the
// port to the system.
func TestListensAt(t *testing.T) {
	w := newWorld(t, func(o *console.Options) { o.Config = &config.Console{Address: config.Address{Address: "localhost:0"}} })
	w.ListensAt(&net.TCPAddr{IP: net.IPv6loopback, Port: 4711})
	location, _, err := w.SignInLink(t.Context(), authentication.Evidence{PrivateSocket: true})
	if err != nil || !strings.HasPrefix(location, "http://localhost:4711/sign-in?code=") {
		t.Errorf("the link is %s (%v)", location, err)
	}
}
