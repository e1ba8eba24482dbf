package consoletest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/testing/browsertest"
)

// TestSessionEnds checks that a session ends after 8 hours, and that the person continues at the same
// page after the next sign-in.
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClockAt(time.Now())
	s := start(t, setup{clock: clock})
	made := s.addMail()
	page := s.signedInWith("admin")
	edit, list := page.Tab(s.address+"/credentials/mail/edit"), page.Tab(s.address+"/credentials")
	clock.Advance(8*time.Hour - time.Second)
	page.Go(s.address + "/credentials/mail")
	page.AwaitText("h1", "Mail")
	clock.Advance(time.Second)
	edit.Type("#description", "too late")
	edit.Click("main form button")
	edit.AwaitText("main", "Your session has ended, so nothing was saved.")
	if now := s.get("mail"); now.GetEtag() != made.GetEtag() {
		t.Error("a form changed the credential after the end of the session")
	}
	list.Type("#search", "mail") // asks for a part of the page
	list.AwaitPath("/sign-in")
	page.Go(s.address + "/credentials/mail?from=chat")
	page.AwaitPath("/sign-in")
	page.Type("#token", tokenOf("admin"))
	page.Click("main button")
	page.AwaitPath("/credentials/mail")
	if path := page.Path(); path != "/credentials/mail?from=chat" {
		t.Errorf("after the sign-in, the browser shows %s", path)
	}
}

// TestFormWithoutAnswer checks that a form stays, with what was typed, when its session has ended or the
// broker does not answer.
func TestFormWithoutAnswer(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClockAt(time.Now())
	s := start(t, setup{clock: clock})
	form := s.signedInWith("admin")
	form.Go(s.address + "/add/sendpulse/api_key")
	form.Type(`input[name="display_name"]`, "Mail")
	form.Type(field("api_key"), s.simulator.SendPulse.APIKey())
	clock.Advance(8 * time.Hour)
	form.Click(`button[value="save"]`)
	form.AwaitText("#result", "Your session has ended, so nothing was saved.")
	tab := form.Tab(s.address + "/sign-in")
	tab.Type("#token", tokenOf("admin"))
	tab.Click("main button")
	tab.AwaitPath("/credentials")
	form.Click(`button[value="save"]`)
	form.AwaitText("main", "The credential is saved.")

	form.Go(s.address + "/credentials/mail/rotate")
	form.Type(field("api_key"), "another")
	s.server.Stop(t.Context())
	form.Click(`button[value="store"]`)
	form.AwaitText("#result", "The broker did not answer")
	if !browsertest.Eval[bool](form, `document.querySelector("input[data-secret]").value === "another"`) {
		t.Error("the form lost what was typed")
	}
}

// TestLinkEnds checks that a sign-in link works once, and for 5 minutes.
func TestLinkEnds(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClockAt(time.Now())
	s := start(t, setup{clock: clock})
	const used = "The link has been used already, or is older than 5 minutes."
	link := s.link()
	clock.Advance(5 * time.Minute)
	page := browsertest.Open(t, link)
	page.Click("main button")
	page.AwaitText("main", used)

	link = s.link()
	clock.Advance(5*time.Minute - time.Second)
	other := browsertest.Open(t, link)
	page.Go(link)
	page.Click("main button")
	page.AwaitPath("/credentials")
	other.Click("main button")
	other.AwaitText("main", used)
}

// TestSignOut checks that a session ends in all tabs when the person signs out, and that the
// browser's history shows no page of it.
func TestSignOut(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	s.addMail()
	page := s.signedInWith("admin")
	tab := page.Tab(s.address + "/credentials/mail")
	page.Click(`form[action="/sign-out"] button`)
	page.AwaitPath("/sign-in")
	tab.Click(`nav a[href="/credentials"]`)
	tab.AwaitPath("/sign-in")
	page.Back()
	if shown := page.Await("h1"); shown != "Sign in" {
		t.Errorf("after the sign-out, the browser's history shows the page %q", shown)
	}
}

// TestRemovedToken checks that a session ends when its token is removed from the configuration, and
// that the sessions of others do not.
func TestRemovedToken(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	removed, kept := s.signedInWith("viewer"), s.signedInWith("admin")
	token := `{name: viewer, sha256: "` + hashOf("viewer") + `"}, `
	if !strings.Contains(defaultAccess(), token) {
		t.Fatal("the configuration has no such token")
	}
	s.reload(strings.Replace(defaultAccess(), token, "", 1))
	kept.Go(s.address + "/providers")
	kept.AwaitPath("/providers")
	removed.Go(s.address + "/providers")
	removed.AwaitPath("/sign-in")
	removed.Type("#token", tokenOf("viewer"))
	removed.Click("main button")
	removed.AwaitText("main .notice", "token")
	if path := removed.Path(); !strings.HasPrefix(path, "/sign-in") {
		t.Errorf("the removed token leads to %s", path)
	}
}
