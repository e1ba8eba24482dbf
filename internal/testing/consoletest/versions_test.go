package consoletest_test

import (
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/authmaterial/broker/brokertest/simulator"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/browsertest"
)

// addMail creates the credential `mail` with the API key of SendPulse.
func (s *scene) addMail() *authmaterialv1.Credential {
	s.Helper()
	return s.get(s.create("mail", "Mail", "", "sendpulse", "api_key", map[string]string{"api_key": s.simulator.SendPulse.APIKey()}))
}

// expect checks the headers that a caller gets, which contain the API key of SendPulse.
func (s *scene) expect(what, caller, key string) {
	s.Helper()
	got, err := s.decorationOf(caller, "mail")
	if err != nil || len(got.GetHeaders()) != 1 || got.GetHeaders()[0].GetValue() != "Bearer "+key {
		s.Errorf("%s: the caller %s does not get the right key (error %v)", what, caller, err)
	}
}

// version selects an element in a version's part of the page.
func version(n, selector string) string {
	return `.timeline li:has([data-version="` + n + `"]) ` + selector
}

// TestVersions checks a canary for some callers, its end, and that a destroyed version is gone.
func TestVersions(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	first, second := s.simulator.SendPulse.APIKey(), s.simulator.SendPulse.AddAPIKey()
	s.addMail()
	page := s.signedIn()
	page.Go(s.address + "/credentials/mail/rotate")
	page.Type(field("api_key"), second)
	page.Click(`button[value="store"]`)
	page.AwaitText("main", "The new version is saved. Callers get it when you activate it.")
	s.expect("saved only", "web", first)

	canary := func() {
		page.Click(version("2", "summary"))
		page.Type(version("2", `textarea[name="callers"]`), "token:web")
		page.Click(version("2", `button[value="canary"]`))
		page.AwaitText("main", "The callers that you named get this version now.")
		page.AwaitText(version("2", ".mark"), "Canary")
		page.AwaitText(`section[aria-labelledby="status"]`, "token:web")
		s.expect("canary", "web", second)
		s.expect("canary", "admin", first)
	}
	canary()
	page.Click(`form[action$="/withdraw"] button`)
	page.AwaitText("main", "All callers get the active version now.")
	s.expect("withdrawn", "web", first)
	canary()
	page.Click(`section .actions form[action$="/activate"] button.primary`) // for all
	page.AwaitText(version("2", ".mark"), "Active")
	s.expect("activated for all", "web", second)
	s.expect("activated for all", "admin", second)

	page.Click(version("1", "summary"))
	page.Click(version("1", `form[action$="/destroy"] button`))
	page.Click(version("1", `input[type="checkbox"]`))
	page.Click(version("1", `form[action$="/destroy"] button`))
	page.AwaitText("main", "The values of the version are erased.")
	page.AwaitText(version("1", ".mark"), "Destroyed")
	if page.Has(version("1", "button")) || page.Has(`main > .actions form[action$="/activate"]`) {
		t.Error("the page offers to activate a destroyed version")
	}
	s.expect("after the destruction", "web", second)
	for _, want := range []string{
		"created the credential", "added version 2", "gave version 2 to some callers",
		"withdrew the canary", "activated version 2", "destroyed version 1",
	} {
		page.AwaitText(`section[aria-labelledby="history"]`, want)
	}
}

// TestVersionsInUse checks that a credential's page shows which callers use its earlier version.
func TestVersionsInUse(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	s.addMail()
	for _, caller := range []string{"web", "admin"} {
		must(t)(s.decorationOf(caller, "mail"))
	}
	old, err := s.decorationOf("web", "mail")
	must(t)(old, err)
	s.version("mail", &authmaterialv1.CreateCredentialVersionRequest{
		Activate: true, Values: []*authmaterialv1.FieldValue{{Field: "api_key", Value: s.simulator.SendPulse.AddAPIKey()}},
	})
	must(t)(s.decorationOf("web", "mail"))
	must(t)(authmaterialv1.NewBrokerServiceClient(s.conn).ReportUsage(
		metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+tokenOf("web")),
		&authmaterialv1.ReportUsageRequest{Uses: []*authmaterialv1.VersionUse{{CredentialId: "mail", Version: old.GetVersion()}}}))
	page := s.signedIn()
	page.Go(s.address + "/credentials/mail")
	const card = `section[aria-labelledby="in-use"] `
	page.AwaitText(card+"tbody tr:nth-child(1)", "2, current")
	page.AwaitText(card+"tbody tr:nth-child(2)", "1, earlier "+old.GetVersion())
	page.AwaitText(card+".part:nth-of-type(2)", "Callers of version 1")
	page.AwaitText(card+".part:nth-of-type(2) li:nth-child(1)", "token:web: last use")
	page.AwaitText(card+".part:nth-of-type(2) li:nth-child(2)", "token:admin: reports no use")
	page.AwaitText(card+".part:nth-of-type(3)", "Callers that report nothing: 1")
	page.AwaitText(card+".part:nth-of-type(3) li", "token:admin")
}

// TestVerification checks what the page of a credential shows about each result of a verification.
func TestVerification(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	provider := s.simulator.SendPulse
	s.addMail()
	page := s.signedIn()
	page.Go(s.address + "/credentials/mail")
	// Each explanation differs from the one before it, so it is not read from the page before it.
	verify := func(outcome, explanation string) {
		t.Helper()
		page.Click(`main > .actions form[action$="/verify"] button`)
		page.AwaitText("main > .notice:not([hidden])", explanation)
		page.AwaitText("main > .notice:not([hidden])", outcome)
		page.AwaitText("#status ~ dl", outcome) // the last verification
	}
	verify("Accepted", "HTTP 200")
	provider.FailAPIRequests(simulator.ServiceUnavailable(""))
	verify("Inconclusive", "HTTP 503")
	provider.FailAPIRequests(simulator.CloseConnection())
	verify("Inconclusive", "cannot be reached")
	provider.RestoreAPIRequests()
	provider.RemoveAPIKey(provider.APIKey())
	verify("Refused", "HTTP 401")
}

// TestTwoPeople checks that the second of two people who change the same credential gets an error, and
// overwrites nothing.
func TestTwoPeople(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	first, second := s.simulator.SendPulse.APIKey(), s.simulator.SendPulse.AddAPIKey()
	s.addMail()
	one, two := s.signedIn(), s.signedInWith("admin")
	one.Go(s.address + "/credentials/mail/edit")
	two.Go(s.address + "/credentials/mail/edit")
	old, rotating := two.Tab(s.address+"/credentials/mail"), two.Tab(s.address+"/credentials/mail/rotate")
	one.Type("#description", "by the first person")
	one.Click("main form button")
	one.AwaitText("main", "The changes are saved.")
	old.AwaitText("main", "The credential has changed.") // without a click

	two.Type("#description", "by the second person")
	two.Click("main form button")
	two.AwaitText("main", "Somebody else changed this credential")
	if kept := browsertest.Eval[string](two, `document.querySelector("#description").value`); kept != "by the second person" {
		t.Errorf("the form lost what the second person typed; it has %q", kept)
	}
	rotating.Type(field("api_key"), second)
	rotating.Click(`button[value="rotate"]`)
	rotating.AwaitText("#result", "Somebody else changed this credential")
	old.Click("#confirm-delete")
	old.Click(`form[action$="/delete"] button`)
	old.AwaitText("main", "Somebody else changed this credential")
	if now := s.get("mail"); now.GetDescription() != "by the first person" || now.GetDeleteTime() != nil {
		t.Errorf("the second person changed the credential: its description is %q", now.GetDescription())
	}
	s.expect("after the conflicts", "web", first)

	two.Click("main .crumbs a")
	two.AwaitText("main", "by the first person")
	two.Click(`a[href$="/edit"]`)
	two.Type("#description", "by both")
	two.Click("main form button")
	two.AwaitText("main", "The changes are saved.")
	if now := s.get("mail"); now.GetDescription() != "by both" {
		t.Errorf("the second person could not change the credential after reading it again: its description is %q", now.GetDescription())
	}
}
