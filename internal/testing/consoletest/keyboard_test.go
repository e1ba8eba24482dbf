package consoletest_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/authmaterial/broker/internal/testing/browsertest"
)

// keyboard uses a page with the keyboard only.
type keyboard struct {
	*browsertest.Page
	t testing.TB
}

// to presses Tab until an element has the focus. Each element on the way must show its focus.
func (k keyboard) to(selector string) {
	k.t.Helper()
	var way []string
	for range 80 {
		k.Press(kb.Tab)
		at := browsertest.Eval[focus](k.Page, focused)
		if at.Element != "" && !at.Shown { // the focus may be on the browser itself
			k.t.Errorf("%s: the focus is not visible on %s", k.Path(), at.Element)
		}
		if k.focused(selector) {
			return
		}
		way = append(way, at.Element)
	}
	k.t.Fatalf("%s: Tab does not lead to %s, but to\n%s", k.Path(), selector, strings.Join(way, "\n"))
}

func (k keyboard) focused(selector string) bool {
	k.t.Helper()
	return browsertest.Eval[bool](k.Page, "document.activeElement.matches(`"+selector+"`)")
}

// press moves to an element and presses a key there.
func (k keyboard) press(selector, key string) {
	k.t.Helper()
	k.to(selector)
	k.Press(key)
}

// TestKeyboard checks the main flow with Tab, Space and Enter: sign in, add a credential, see its tile,
// rotate it. It also checks where the focus is after a part of the page has changed.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	provider := s.simulator.SendPulse
	k := keyboard{browsertest.Open(t, s.link()), t}
	k.press("main button", kb.Enter)
	k.AwaitText("main", "There are no credentials yet")
	k.press("a.skip", kb.Enter)
	k.AwaitFocus("main")
	k.press(`main a.button[href="/add"]`, kb.Enter)
	k.AwaitText("h1", "Add a credential")
	k.to(`input[type="search"]`)
	k.Press("sendpulse")
	k.AwaitPath("/add")
	k.AwaitGone(`a[href^="/add/pendo"]`)
	k.AwaitFocus(`input[type="search"]`)
	k.press(`a[href="/add/sendpulse/api_key"]`, kb.Enter)
	k.AwaitPath("/add/sendpulse")

	k.to(field("api_key"))
	k.Press("wrong-secret")
	k.press("button[data-reveal]", " ")
	k.AwaitFocus("button[data-reveal]")
	if shown := browsertest.Eval[string](k.Page, `document.querySelector("input[data-secret]").type`); shown != "text" {
		t.Errorf("after Show, the type of the field is %s", shown)
	}
	k.press(`button[value="save"]`, kb.Enter)
	k.AwaitText(`#error-credential\.display_name`, "Enter a name")
	k.AwaitFocus(`input[name="display_name"][aria-invalid="true"]`)
	k.Press("邮件") // no ID can be made from this name
	k.press(`button[value="save"]`, kb.Enter)
	k.AwaitText(`#error-credential_id`, "required")
	k.AwaitFocus(`input[name="credential_id"]`)
	k.Press("mail")
	k.press(`button[value="verify"]`, " ")
	k.AwaitText("#result", "Refused")
	k.AwaitFocus(`button[value="verify"]`) // it keeps the focus
	k.Type(field("api_key"), provider.APIKey())
	k.press(`button[value="save"]`, kb.Enter)
	k.AwaitText("main", "The credential is saved.")
	k.press(`nav a[href="/credentials"]`, kb.Enter)
	k.AwaitText(".tile", "邮件")

	k.press(".tile a", kb.Enter)
	k.AwaitText("h1", "邮件")
	k.press(`a[href="/credentials/mail/rotate"]`, kb.Enter)
	k.AwaitText("h1", "Rotate")
	next := provider.AddAPIKey()
	k.to(field("api_key"))
	k.Press(next)
	k.press("#accept", " ")
	if !browsertest.Eval[bool](k.Page, `document.querySelector("#accept").checked`) {
		t.Error("Space does not tick a box")
	}
	k.press(`button[value="rotate"]`, kb.Enter)
	k.AwaitText("main", "Callers get the new version now.")
	s.expect("rotated", "web", next)
	k.press("#confirm-delete", " ")
	k.press(`form[action$="/delete"] button`, kb.Enter)
	k.AwaitText("main", "The credential is deleted.")
}
