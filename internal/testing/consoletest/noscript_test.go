package consoletest_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/authmaterial/broker/internal/testing/browsertest"
)

// TestWithoutScripts checks the main flow in a browser that runs no script: sign in, add a credential,
// see its tile, rotate it.
func TestWithoutScripts(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	provider := s.simulator.SendPulse
	page := browsertest.Open(t, "about:blank")
	page.WithoutScripts()
	page.Go(s.link())
	page.Click("main button")
	page.AwaitText("main", "There are no credentials yet")
	page.Click(`main a.button[href="/add"]`)
	page.AwaitPath("/add")
	page.Type(`input[type="search"]`, "sendpulse")
	page.Click("main form button")
	page.AwaitGone(`a[href^="/add/pendo"]`)
	page.Click(`a[href="/add/sendpulse/api_key"]`)
	page.Type(field("api_key"), "wrong-secret")
	page.Click(`button[value="save"]`) // without a name
	page.AwaitText(`#error-credential\.display_name`, "Enter a name")
	if browsertest.Eval[bool](page, `[...document.querySelectorAll("input[data-secret]")].some(field => field.value !== "")`) {
		t.Error("a page has a secret that was typed")
	}
	if useless := browsertest.Eval[int](page, `[...document.querySelectorAll("button[type=button]")].filter(button => button.checkVisibility()).length`); useless > 0 {
		t.Errorf("the page shows %d buttons that need a script", useless)
	}
	page.Type(`input[name="display_name"]`, "Mail")
	page.Type(field("api_key"), "wrong-secret")
	page.Click(`button[value="verify"]`)
	page.AwaitText("#result", "Refused")
	page.Type(field("api_key"), provider.APIKey())
	page.Click(`button[value="save"]`)
	page.AwaitText("main", "The credential is saved.")
	s.expect("added", "web", provider.APIKey())
	page.Click(`nav a[href="/credentials"]`)
	page.AwaitText(".tile", "Mail")
	page.AwaitText(".tile", "Ready")

	first := s.mustDecoration("mail")
	page.Click(".tile a")
	page.Click(`a[href="/credentials/mail/rotate"]`)
	page.Type(field("api_key"), "wrong-secret")
	page.Click(`button[value="rotate"]`)
	page.AwaitText("#result", "Refused")
	if got := s.mustDecoration("mail"); !proto.Equal(material(got), material(first)) {
		t.Error("a refused rotation changed what callers get")
	}
	next := provider.AddAPIKey()
	page.Type(field("api_key"), next)
	page.Click(`button[value="rotate"]`)
	page.AwaitText("main", "Callers get the new version now.")
	s.expect("rotated", "web", next)
}
