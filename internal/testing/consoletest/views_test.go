package consoletest_test

import "github.com/authmaterial/broker/internal/testing/browsertest"

// view is a page in one of its states.
type view struct {
	name, path string
	prepare    func(*browsertest.Page) // may be nil
}

// open opens the `details` of a page.
func open(page *browsertest.Page) {
	browsertest.Eval[bool](page, "document.querySelectorAll('details').forEach(d => { d.open = true }), true")
}

// send submits the form with a button, and waits for the answer.
func send(button, answer string) func(*browsertest.Page) {
	return func(page *browsertest.Page) {
		page.Click(button)
		page.Await(answer)
	}
}

// stale makes all etags of a page wrong, so that its forms fail.
func stale(page *browsertest.Page) {
	browsertest.Eval[bool](page, "document.querySelectorAll('input[name=etag]').forEach(e => { e.value = 'stale' }), true")
}

// openViews are the pages that nobody needs to sign in for.
var openViews = []view{
	{"sign-in", "/sign-in", nil},
	{"sign-in-link", "/sign-in?code=ABC&next=/fleet", nil},
	{"sign-in-refused", "/sign-in", send("main button", ".bad")},
}

const (
	addClient = "/add/sendpulse/oauth2_client_credentials"
	addOwn    = "/add/warehouse/key_and_account"
	rich      = "/credentials/sendpulse-production"
)

// views are the pages of somebody who has signed in, in the gallery.
var views = []view{
	{"credentials", "/credentials?deleted=1", nil},
	{"credentials-none-found", "/credentials?search=no-such-name", nil},
	{"credentials-wrong-filter", "/credentials?label=%21", nil},
	{"choose", "/add", nil},
	{"choose-none-found", "/add?search=no-such-name", nil},
	{"add", addClient, open},
	{"add-errors", addOwn, func(page *browsertest.Page) {
		open(page)
		page.Type(field("account"), "12")
		page.Type(`input[name="credential_id"]`, "Not An ID")
		page.Click(`button[value="save"]`)
		page.Await("#result .notice")
	}},
	{"add-refused", addClient, func(page *browsertest.Page) {
		page.Type(`input[name="display_name"]`, "SendPulse")
		page.Type(field("client_id"), "sp-wrong")
		page.Type(field("client_secret"), "wrong")
		page.Click(`button[value="verify"]`)
		page.Await("#result .notice")
	}},
	{"add-lines", "/add/robot/key", open},
	{"add-unallowed", "/add/robot/key", func(page *browsertest.Page) {
		open(page)
		page.Type(`input[name="display_name"]`, "Another robot")
		page.Type(field("client_id"), "id")
		page.Type(field("client_secret"), "secret")
		page.Type(`textarea[data-secret]`, robotKey)
		page.Click(`button[value="verify"]`)
		page.AwaitText(`#error-allow_token_replacement`, "Tick the box")
	}},
	{"credential-replacement", "/credentials/robot", open},
	{"rotate-replacement", "/credentials/robot/rotate", nil},
	{"credential", rich, nil},
	{"credential-open", rich, open},
	{"credential-done", rich + "?done=rotated", nil},
	{"credential-verified", rich, send(`.actions form[action$="/verify"] button`, ".notice h2")},
	{"credential-changed", rich, func(page *browsertest.Page) {
		stale(page)
		page.Click(`form[action$="/withdraw"] button`)
		page.Await(".bad h2")
	}},
	{"credential-access", rich, func(page *browsertest.Page) {
		page.Type("#caller", "token:viewer")
		page.Click(`form[action$="/access"] button`)
		page.Await("#explained .notice")
	}},
	{"credential-refused", "/credentials/sendpulse-marketing", nil},
	{"credential-unused", "/credentials/warehouse", nil},
	{"credential-without-reports", "/credentials/pendo-europe", nil},
	{"credential-disabled", "/credentials/contracts", nil},
	{"credential-deleted", "/credentials/trial", nil},
	{"credential-declared", "/credentials/pendo-declared", open},
	{"access", rich + "/access?caller=token:viewer", nil},
	{"rotate", rich + "/rotate", nil},
	{"rotate-refused", rich + "/rotate", func(page *browsertest.Page) {
		page.Type(field("client_secret"), "wrong")
		page.Click(`button[value="rotate"]`)
		page.Await("#result .notice")
	}},
	{"edit", rich + "/edit", nil},
	{"edit-errors", rich + "/edit", func(page *browsertest.Page) {
		page.Type("#labels", "no label")
		page.Click("main button")
		page.Await(".bad")
	}},
	{"edit-fields", rich + "/edit", func(page *browsertest.Page) {
		browsertest.Eval[bool](page, "document.getElementById('display_name').value = '', true")
		page.Type("#labels", "Not A Key=1")
		page.Click("main .primary")
		page.AwaitText(".notice", "Nothing was saved")
	}},
	{"providers", "/providers", nil},
	{"provider", "/providers/sendpulse", nil},
	{"provider-own", "/providers/warehouse", nil},
	{"fleet", "/fleet", nil},
	{"missing", "/no-such-page", nil},
	{"not-found", "/credentials/no-such-credential", nil},
}

// show shows a view.
func (s *scene) show(page *browsertest.Page, v view) {
	s.Helper()
	page.Go(s.address + v.path)
	if v.prepare != nil {
		v.prepare(page)
	}
}
