package consoletest_test

import (
	"net/http"
	"testing"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/browsertest"
)

// robotKey is a private key, which has several lines.
const robotKey = "-----BEGIN PRIVATE KEY-----\nTUlJRXZR\n\nSUJBREFO\n-----END PRIVATE KEY-----"

// robotProvider is the definition of a provider whose token requests contain a private key, and which
// ends a token when it issues the next one.
const robotProvider = `- id: robot
  display_name: Robot
  allowed_hosts: [api.sendpulse.com]
  auth_methods:
  - id: key
    display_name: Private key
    rotation: OVERLAPPING
    fields:
    - {id: client_id, display_name: Client, required: true, secret: false}
    - {id: client_secret, display_name: Client secret, required: true, secret: true}
    - {id: private_key, display_name: Private key, required: true, secret: true}
    token_request:
      url: https://api.sendpulse.com/robot/token
      body: FORM
      client_authentication: REQUEST_BODY
      parameters: {assertion: "${private_key}"}
      previous_token: ENDED
    headers: [{name: Authorization, value: "Bearer ${token}"}]
    verification:
      url: https://api.sendpulse.com/robot/me
      answers: [{statuses: [200], outcome: ACCEPTED}, {statuses: [401], outcome: REFUSED}]
`

// robot is a scene with that provider.
type robot struct {
	*scene
	*simulator.TokenEndpoint

	client simulator.Client
}

func serveRobot(t testing.TB) robot {
	t.Helper()
	s := serve(t, defaultAccess()+"providers:\n"+robotProvider)
	tokens := s.simulator.HandleTokens("POST api.sendpulse.com/robot/token", simulator.TokenRules{Parameters: map[string]string{"assertion": robotKey}})
	tokens.SetEndsPreviousToken(true)
	s.simulator.Expect("GET api.sendpulse.com/robot/me", tokens.Accepts)
	return robot{s, tokens, tokens.AddClient(simulator.Client{})}
}

// fill fills the form for a credential, except the private key.
func (r robot) fill(page *browsertest.Page) {
	r.Helper()
	page.Type(field("client_id"), r.client.ID)
	page.Type(field("client_secret"), r.client.Secret)
}

// accepts reports whether the provider accepts what a caller got.
func (r robot) accepts(d *authmaterialv1.AuthDecoration) bool {
	r.Helper()
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "https://api.sendpulse.com/robot/me", nil)
	if err != nil {
		r.Fatal(err)
	}
	for _, header := range d.GetHeaders() {
		request.Header.Set(header.GetName(), header.GetValue())
	}
	return r.Accepts(request)
}

// TestTokenReplacement checks that a person must allow a verification that ends the token in use, with
// and without scripts. The provider accepts only a private key with all its line breaks.
func TestTokenReplacement(t *testing.T) {
	t.Parallel()
	for name, scripts := range map[string]bool{"with scripts": true, "without scripts": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := serveRobot(t)
			page := r.signedIn()
			if !scripts {
				page.WithoutScripts()
			}
			page.Go(r.address + "/add/robot/key")
			fill := func() {
				page.Type(`input[name="display_name"]`, "Robot")
				r.fill(page)
				if !browsertest.Eval[bool](page, `document.querySelector("details:has(textarea[data-secret])").open`) {
					page.Click("details:has(textarea[data-secret]) summary")
				}
				page.Type(`textarea[data-secret]`, robotKey+"\n")
			}
			fill()
			page.Click(`button[value="verify"]`)
			page.AwaitText(`#error-allow_token_replacement`, "Tick the box to verify the values")
			if total := r.TotalTokenRequests(); total > 0 {
				t.Errorf("%d token requests were sent without the tick", total)
			}
			if scripts {
				page.AwaitFocus("#allow_token_replacement")
			} else {
				fill()
			}
			page.Click("#allow_token_replacement")
			page.Click(`button[value="verify"]`)
			page.AwaitText("#result", "Accepted")
			if !scripts {
				fill()
			}
			page.Click(`button[value="save"]`)
			page.AwaitText("main", "The credential is saved.")
			r.verifySaved(page)
		})
	}
}

// verifySaved verifies the saved credential, in all ways that its page has.
func (r robot) verifySaved(page *browsertest.Page) {
	r.Helper()
	used := r.mustDecoration("robot")
	page.Click(`summary:has(+ form[action$="/verify"])`)
	page.Click(`details > form[action$="/verify"] button`)
	page.AwaitText("main", "Tick the box to confirm.")
	if !r.accepts(used) {
		r.Error("a verification without the tick ended the token in use")
	}
	page.Click(`summary:has(+ form[action$="/verify"])`)
	page.Click("#allow")
	page.Click(`details > form[action$="/verify"] button`)
	page.AwaitText(".notice h2", "Accepted")
	if r.accepts(used) {
		r.Error("the token in use is still valid after the verification: the text beside the box is wrong")
	}
	page.Click(`a[href="/credentials/robot/rotate"]`)
	page.AwaitText("main form", "this provider then ends the token that callers of these values use")
	r.fill(page)
	page.Click(`button[value="store"]`)
	page.AwaitText("main", "The new version is saved.")
	page.Click(`.timeline summary`)
	page.Click("#allow-2")
	page.Click(`.timeline form[action$="/verify"] button`)
	page.AwaitText(".notice h2", "Accepted")
}

// TestPaste checks that a secret of several lines is never pasted as one line.
func TestPaste(t *testing.T) {
	t.Parallel()
	r := serveRobot(t)
	browser := browsertest.Start(t)
	page := browser.Open(r.link())
	page.Click("main button")
	page.AwaitPath("/credentials")
	page.Go(r.address + "/add/robot/key")
	value := func(selector string) string {
		return browsertest.Eval[string](page, `document.querySelector('`+selector+`').value`)
	}
	page.Paste(field("client_secret"), robotKey)
	page.AwaitText(`#error-values\.client_secret`, "The value has only one line")
	page.Paste(field("private_key"), robotKey)
	page.AwaitText(`#error-values\.private_key`, "Enter it below, at “Several lines”.")
	for _, id := range []string{"client_secret", "private_key"} {
		if got := value(field(id)); got != "" {
			t.Errorf("the field %s has the value %q", id, got)
		}
	}
	page.Paste(field("client_secret"), "one line\n")
	if got, problem := value(field("client_secret")), page.Has(`[aria-invalid="true"]#values\.client_secret`); got != "one line" || problem {
		t.Errorf("the field with one line has the value %q (problem: %t)", got, problem)
	}
	page.Paste(`textarea[data-secret]`, robotKey)
	if got := value("textarea[data-secret]"); got != robotKey {
		t.Errorf("the field for several lines has the value %q", got)
	}
	masked := func() bool {
		return browsertest.Eval[string](page, `getComputedStyle(document.querySelector("textarea[data-secret]")).webkitTextSecurity`) == "disc"
	}
	if !masked() {
		t.Error("the lines are visible before they are shown")
	}
	page.Click(`button[data-reveal="lines.private_key"]`)
	if masked() {
		t.Error("the lines are masked after Show")
	}
	page.Type(field("private_key"), "another")
	page.Click(`button[value="save"]`)
	page.AwaitText(`#error-values\.private_key`, "Enter the value in only one of the two fields.")
}
