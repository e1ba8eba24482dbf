package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestLines checks values of several lines, which are possible only in fields that allow them.
func TestLines(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	add := func(form url.Values) *answer {
		t.Helper()
		w.api.created = nil
		form.Set("do", "save")
		form.Set("display_name", "Robot")
		form.Set("values.account", "acc")
		made := w.send(http.MethodPost, "/add/robot/key", form, cookie)
		if strings.Contains(made.text, canary) {
			t.Errorf("the answer to %v has the secret", form)
		}
		return made
	}
	add(url.Values{"lines.key": {canary + "\r\nsecond \r\n\r\n"}, "lines.account": {"a\r\nb"}})
	if values := w.api.created.GetValues(); len(values) != 2 || values[0].GetValue() != "acc" || values[1].GetField() != "key" || values[1].GetValue() != canary+"\nsecond \n" {
		t.Errorf("the call has %d values, or a wrong one", len(values))
	}
	add(url.Values{"values.key": {canary}, "lines.key": {"\r\n"}})
	if values := w.api.created.GetValues(); len(values) != 2 || values[1].GetValue() != canary {
		t.Errorf("the call has %d values, or a wrong one", len(values))
	}
	both := url.Values{"values.key": {canary}, "lines.key": {canary}}
	refused := add(both)
	if refused.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(refused.text, "Enter the value in only one of the two fields.") || w.api.created != nil {
		t.Errorf("with both fields, the answer is %d %s", refused.StatusCode, refused.text)
	}
	if form := w.get("/add/robot/key", cookie).text; !strings.Contains(form, `<textarea id="lines.key"`) || strings.Contains(form, "lines.account") {
		t.Errorf("the form is %s", form)
	}
}

// TestPublicLines checks that a form keeps a saved public value of several lines, which a field of one
// line would change.
func TestPublicLines(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	mail.PublicValues = map[string]string{"account": "\na\nb"}
	t.Cleanup(func() { mail.PublicValues = nil })
	form := w.get("/credentials/mail/rotate", cookie)
	w.wantText("the form", form, http.StatusOK, `<textarea id="values.account"`, ">\n\na\nb</textarea>")
	got := w.send(http.MethodPost, "/credentials/mail/rotate", url.Values{"do": {"store"}, "values.account": {"\r\na\r\nb"}}, cookie)
	w.wantText("the same value", got, http.StatusUnprocessableEntity, "You entered no new value.")
}

// TestTokenReplacement checks that a person must allow a verification that ends a token.
func TestTokenReplacement(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	for path, form := range map[string]url.Values{
		"/add/robot/key":           {"do": {"verify"}, "display_name": {"Robot"}, "values.account": {canary}, "values.key": {canary}},
		"/credentials/mail/verify": {"do": {"replace"}, "version": {"1"}},
	} {
		w.api.verified = nil
		answer := w.send(http.MethodPost, path, form, cookie)
		if answer.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(answer.text, "Tick the box to ") || w.api.verified != nil {
			t.Errorf("%s without the tick is answered %d %s", path, answer.StatusCode, answer.text)
		}
		form.Set("allow_token_replacement", "1")
		answer = w.send(http.MethodPost, path, form, cookie)
		if answer.StatusCode != http.StatusOK || !strings.Contains(answer.text, "It works.") || !w.api.verified.GetAllowTokenReplacement() {
			t.Errorf("%s with the tick is answered %d %s", path, answer.StatusCode, answer.text)
		}
	}
	w.send(http.MethodPost, "/credentials/mail/verify", nil, cookie)
	if w.api.verified.GetAllowTokenReplacement() {
		t.Error("a verification without a tick allows that a token ends")
	}
	for path, want := range map[string]bool{"/add/robot/key": true, "/add/acme/key": false} {
		if got := strings.Contains(w.get(path, cookie).text, `name="allow_token_replacement"`); got != want {
			t.Errorf("%s has the tick box: %t", path, got)
		}
	}
}

// TestReplacedRefreshToken checks that the form offers no verification that would use up a refresh token.
func TestReplacedRefreshToken(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	method := acme.GetAuthMethods()[0]
	t.Cleanup(func() { method.ReplacesRefreshToken = false })
	for _, replaces := range []bool{false, true} {
		method.ReplacesRefreshToken = replaces
		if offered := strings.Contains(w.get("/add/acme/key", cookie).text, ">Verify<"); offered == replaces {
			t.Errorf("with replaces_refresh_token %t, the form offers to verify: %t", replaces, offered)
		}
	}
}
