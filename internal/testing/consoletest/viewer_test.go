package consoletest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/authmaterial/broker/internal/testing/browsertest"
)

// answer is the answer to a form that a page sent by a script.
type answer struct {
	Status int    `json:"status"`
	Text   string `json:"text"`
}

// post sends a form from the page, and returns the answer.
func post(page *browsertest.Page, path string, form url.Values) answer {
	return browsertest.Promised[answer](page, fmt.Sprintf(`fetch(%q, {method: "POST", body: new URLSearchParams(%q)}).then(
		async (answer) => ({status: answer.status, text: await answer.text()}))`, path, form.Encode()))
}

// changes are the forms that change a credential, by their path.
func changes(etag string) map[string]url.Values {
	return map[string]url.Values{
		"/credentials/mail/rotate":   {"do": {"store"}, "values.api_key": {"another"}},
		"/credentials/mail/edit":     {"display_name": {"Another"}},
		"/credentials/mail/verify":   {},
		"/credentials/mail/activate": {"version": {"1"}, "etag": {etag}},
		"/credentials/mail/withdraw": {"etag": {etag}},
		"/credentials/mail/destroy":  {"version": {"1"}, "confirm": {"1"}, "etag": {etag}},
		"/credentials/mail/delete":   {"confirm": {"1"}, "etag": {etag}},
		"/credentials/mail/restore":  {},
		"/add/sendpulse/api_key":     {"do": {"save"}, "display_name": {"Another"}, "values.api_key": {"another"}},
	}
}

// TestViewer checks that a caller who may only view sees no buttons that change something, and that forms
// posted by hand change nothing.
func TestViewer(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	before := s.addMail()
	page := s.signedInWith("viewer")
	if page.Has(`a[href^="/add"]`) {
		t.Error("the list offers a new credential to somebody who may not add one")
	}
	page.Click(`a[href="/credentials/mail"]`)
	page.AwaitPath("/credentials/mail")
	page.AwaitText(`section[aria-labelledby="access"]`, "view")
	if found := browsertest.Eval[[]string](page, `[...document.querySelectorAll("main form, main a.button")].map(e => e.outerHTML)`); len(found) > 0 {
		t.Errorf("the page of a credential offers to somebody who may only view: %q", found)
	}
	for path, form := range changes(before.GetEtag()) {
		if got := post(page, path, form); got.Status != http.StatusForbidden {
			t.Errorf("%s by a viewer: status %d, want 403", path, got.Status)
		}
	}
	if now := s.get("mail"); !proto.Equal(now, before) {
		t.Errorf("a viewer changed the credential: its etag was %s and is %s", before.GetEtag(), now.GetEtag())
	}

	page.Go(s.address + "/add/sendpulse/api_key")
	page.AwaitText("main", "You may not do this")

	other := s.signedInWith("web") // may use the credential, and not view it
	other.AwaitText("main", "There are no credentials that you may view")
	other.Go(s.address + "/credentials/mail")
	other.AwaitText("main", "You may not do this")

	// The same forms succeed, or fail for another reason, if the caller may manage the credential.
	admin := s.signedInWith("admin")
	for path, form := range changes(before.GetEtag()) {
		if got := post(admin, path, form); got.Status == http.StatusForbidden {
			t.Errorf("%s by an administrator: status %d", path, got.Status)
		}
	}
}

// TestLostGrant checks that the open page of a credential keeps what it shows when the person may not view
// the credential any more.
func TestLostGrant(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	s.addMail()
	page := s.signedInWith("viewer")
	page.Go(s.address + "/credentials/mail")
	browsertest.Promised[bool](page, `new Promise(open => { (function wait() { stream?.readyState === EventSource.OPEN ? open(true) : setTimeout(wait, 10) })() })`)
	before := page.Await("#state")
	browsertest.Eval[bool](page, `!document.addEventListener("htmx:afterRequest", () => { document.body.dataset.asked = "yes"; })`)
	s.reload(strings.Replace(defaultAccess(), `credentials: ["*"], actions: [view]`, `credentials: ["other"], actions: [view]`, 1))
	page.AwaitText(".mark[data-credential]", "Gone")
	page.AwaitText("[data-changed]", "The credential has changed.")
	page.Await("body[data-asked]")
	if !page.Has("#state") || page.Await("#state") != before {
		t.Errorf("the page shows the state %q, want %q", page.Await("main"), before)
	}
}
