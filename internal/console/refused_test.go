package console_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/timestamppb"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

// wantText checks the status of an answer, and that it contains the texts.
func (w *world) wantText(what string, got *answer, status int, texts ...string) {
	w.Helper()
	for _, text := range texts {
		if !strings.Contains(got.text, text) {
			w.Errorf("%s: the answer lacks %q:\n%s", what, text, got.text)
		}
	}
	if got.StatusCode != status {
		w.Errorf("%s: the status is %d, want %d", what, got.StatusCode, status)
	}
}

// TestIncompleteForms checks that an empty form reports all missing fields at once, and that a rotation
// without a new value is refused.
func TestIncompleteForms(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	for _, button := range []string{"save", "verify"} {
		got := w.send(http.MethodPost, "/add/acme/key", url.Values{"do": {button}, "display_name": {" "}}, cookie)
		w.wantText(button, got, http.StatusUnprocessableEntity, "Enter a name (up to 128 characters).", "Enter the Account.", "Enter the Key.")
	}
	if w.api.created != nil {
		t.Error("an empty form made a call")
	}
	const nothing = "You entered no new value. Enter at least one."
	for _, button := range []string{"rotate", "use", "store"} {
		got := w.send(http.MethodPost, "/credentials/mail/rotate", url.Values{"do": {button}}, cookie)
		w.wantText(button, got, http.StatusUnprocessableEntity, `data-for="values.key">`+nothing)
	}
	if w.api.version != nil {
		t.Error("an empty rotation made a call")
	}
	w.send(http.MethodPost, "/credentials/mail/rotate", url.Values{"do": {"store"}, "allowed_hosts": {"a.example\r\n\r\nb.example"}}, cookie)
	if hosts := w.api.version.GetAllowedHosts(); len(hosts) != 2 || hosts[1] != "b.example" {
		t.Errorf("the hosts of the new version are %q", hosts)
	}
}

// badField returns the API's error about one field.
func badField(t *testing.T, name, problem string) error {
	t.Helper()
	refused := connect.NewError(connect.CodeInvalidArgument, errors.New("invalid"))
	detail, err := connect.NewErrorDetail(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: name, Description: problem}}})
	if err != nil {
		t.Fatal(err)
	}
	refused.AddDetail(detail)
	return refused
}

// TestHostsOfForm checks that the problem of a host is shown at the field of all hosts.
func TestHostsOfForm(t *testing.T) {
	w := newWorld(t, nil)
	w.api.failure = badField(t, "allowed_hosts[1]", "must be one of store.allowed_hosts")
	form := url.Values{"allowed_hosts": {"a.example\r\nb.example"}}
	for name, values := range complete {
		form[name] = values
	}
	got := w.send(http.MethodPost, "/add/acme/key", form, w.signIn("ann"))
	w.wantText("a refused host", got, http.StatusUnprocessableEntity, `data-for="allowed_hosts">b.example: Must be one of store.allowed_hosts.`, "a.example\r\nb.example</textarea>")
	if hosts := w.api.created.GetAllowedHosts(); len(hosts) != 2 {
		t.Errorf("the hosts are %q", hosts)
	}
}

// TestRefusedRotation checks that the form says which version has the refused values.
func TestRefusedRotation(t *testing.T) {
	w := newWorld(t, nil)
	got := w.send(http.MethodPost, "/credentials/mail/rotate", url.Values{"do": {"rotate"}, "values.key": {canary}}, w.signIn("ann"), partial)
	w.wantText("a refused rotation", got, http.StatusOK, "Callers keep version 1. The values that you entered are saved as version 2.", `id="etag"`)
}

// TestRefusedVersions checks that a version whose values the provider refused becomes active only with a
// tick, and is not offered to roll back to.
func TestRefusedVersions(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	version := func(number int32, state authmaterialv1.VersionState, outcome authmaterialv1.VerificationOutcome) *authmaterialv1.CredentialVersion {
		return &authmaterialv1.CredentialVersion{
			Version: number, State: state, ActivateTime: timestamppb.Now(),
			Verification: &authmaterialv1.Verification{Outcome: outcome, VerifyTime: timestamppb.Now()},
		}
	}
	const refused, accepted = authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_REFUSED, authmaterialv1.VerificationOutcome_VERIFICATION_OUTCOME_ACCEPTED
	const enabled, active = authmaterialv1.VersionState_VERSION_STATE_ENABLED, authmaterialv1.VersionState_VERSION_STATE_ACTIVE
	was := mail.ActiveVersion
	mail.ActiveVersion = 3
	t.Cleanup(func() { mail.ActiveVersion = was })
	w.api.versions = []*authmaterialv1.CredentialVersion{version(3, active, accepted), version(2, enabled, refused), version(1, enabled, accepted)}
	page := w.get("/credentials/mail", cookie)
	w.wantText("the page", page, http.StatusOK, "Roll back to version 1", "The provider refused these values just now.", "added version 2<small><bdi>Key, Allowed hosts</bdi></small>")
	if strings.Count(page.text, `name="anyway"`) != 1 || strings.Contains(page.text, "<small><bdi>canary") {
		t.Errorf("the page is %s", page.text)
	}
	for number, want := range map[string]string{"1": "/credentials/mail?done=activated", "2": ""} {
		w.api.active = nil
		got := w.send(http.MethodPost, "/credentials/mail/activate", url.Values{"version": {number}, "etag": {"1"}}, cookie)
		if location := got.Header.Get("Location"); location != want || (w.api.active != nil) != (want != "") {
			t.Errorf("version %s leads to %q, %s", number, location, got.text)
		}
	}
	got := w.send(http.MethodPost, "/credentials/mail/activate", url.Values{"version": {"2"}, "anyway": {"1"}}, cookie)
	if got.Header.Get("Location") != "/credentials/mail?done=activated" || w.api.active.GetVersion() != 2 {
		t.Errorf("with the tick, the answer is %d", got.StatusCode)
	}
}

// TestRefusedCallers checks that the problem of a canary's caller names the caller.
func TestRefusedCallers(t *testing.T) {
	w := newWorld(t, nil)
	w.api.failure = badField(t, "callers[1]", "must be a pattern")
	got := w.send(http.MethodPost, "/credentials/mail/activate", url.Values{"do": {"canary"}, "version": {"2"}, "callers": {"uid:7\r\n<b>*\r\n"}}, w.signIn("ann"))
	w.wantText("a canary", got, http.StatusUnprocessableEntity, "<bdi>&lt;b&gt;*: Must be a pattern.</bdi>")
}

// TestCanaryWarning checks that a warning about the callers of a canary is shown.
func TestCanaryWarning(t *testing.T) {
	w := newWorld(t, nil)
	w.api.warning = "The pattern may match no caller."
	got := w.send(http.MethodPost, "/credentials/mail/activate", url.Values{"do": {"canary"}, "version": {"2"}, "callers": {"token:ci"}}, w.signIn("ann"))
	w.wantText("a canary", got, http.StatusOK, "The canary is set, but check it", w.api.warning)
}

// TestUnconfirmed checks that a form without its tick changes nothing. The API of this test panics if it
// is asked to.
func TestUnconfirmed(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	for form, want := range map[string]string{"delete": "Nothing was deleted. Tick the box below Delete first.", "destroy": "Nothing was erased. Tick the box above Destroy first."} {
		w.wantText(form, w.send(http.MethodPost, "/credentials/mail/"+form, nil, cookie), http.StatusUnprocessableEntity, want)
	}
	for _, form := range []string{"verify", "activate", "withdraw", "destroy", "delete", "restore"} {
		if got := w.get("/credentials/mail/"+form, cookie); got.Header.Get("Location") != "/credentials/mail" {
			t.Errorf("the address of the form %s has the status %d", form, got.StatusCode)
		}
	}
}

// TestFormsOfOthers checks that a form is not shown to people who may not send it, and that a denied ID
// is reported at its field.
func TestFormsOfOthers(t *testing.T) {
	w := newWorld(t, nil)
	ann, bob := w.signIn("ann"), w.signIn("bob")
	for _, path := range []string{"/add", "/add/acme/key"} {
		w.wantText(path, w.get(path, bob), http.StatusForbidden, "You may not do this", "a grant with the action manage")
	}
	if text := w.get("/credentials", bob).text; strings.Contains(text, `href="/fleet"`) || !strings.Contains(w.get("/credentials", ann).text, `href="/fleet"`) {
		t.Error("the fleet status is offered to the wrong people")
	}
	w.api.failure = connect.NewError(connect.CodePermissionDenied, errors.New("you have no grant"))
	got := w.send(http.MethodPost, "/add/acme/key", complete, ann)
	w.wantText("a denied ID", got, http.StatusForbidden, `data-for="credential_id">You may not create a credential with the ID mail. Enter an ID`, "<details open>")
	w.api.allowed = []string{"view"}
	for _, form := range []string{"rotate", "edit"} {
		w.wantText(form, w.get("/credentials/mail/"+form, ann), http.StatusForbidden, "You may not do this", "a grant with the action manage")
	}
}

// TestProse checks that code in the texts of a provider is shown as code, and that the rest is escaped.
func TestProse(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	for _, path := range []string{"/providers/acme", "/providers", "/add", "/add/acme/key", "/credentials/mail/rotate"} {
		w.wantText(path, w.get(path, cookie), http.StatusOK, "Write <code>x&lt;y</code> in a <code>note</code>.")
	}
}

// TestAccessWithoutGrants checks the explanation of access for a configuration without grants.
func TestAccessWithoutGrants(t *testing.T) {
	w := newWorld(t, nil)
	got := w.get("/credentials/mail/access?caller=token:web", w.signIn("ann"))
	w.wantText("the explanation", got, http.StatusOK, "<bdi>token:web</bdi>: <b>view, manage</b>.", "The configuration has no grants.")
}
