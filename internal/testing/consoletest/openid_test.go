package consoletest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/testing/authtest"
	"github.com/authmaterial/broker/internal/testing/browsertest"
)

// serveOpenID starts a broker whose console has TLS, and at which people sign in at the issuer. The
// group operators may manage the credential `mail`, and everybody of the issuer may view the
// credential `open`.
func serveOpenID(t testing.TB, at *issuer) *scene {
	t.Helper()
	folder := t.TempDir()
	certificate := authtest.NewAuthority("console", time.Now()).IssueLoopback()
	for name, text := range map[string][]byte{
		"cert.pem": authtest.CertificatePEM(certificate), "key.pem": authtest.KeyPEM(certificate), "secret": []byte(clientSecret),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, setup{
		scheme: "https",
		listen: fmt.Sprintf(", tls: {certificate_file: %q, key_file: %q}", filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")),
		sections: fmt.Sprintf(`authentication: {peer_user: true}
grants:
- {callers: ["uid:%d"], credentials: ["*"], actions: [use, manage]}
- {callers: ["group:work:operators"], credentials: ["mail"], actions: [manage]}
- {callers: ["oidc:work:*"], credentials: ["open"], actions: [view]}
console:
  address: CONSOLE
  url: https://CONSOLE
  oidc:
  - {name: work, issuer: %q, client_id: %q, client_secret: {file: %q}, scopes: [groups], groups_claim: groups, ca_file: %q, allow_private_addresses: true}
audit: {file: %q, mode: required}
`, os.Geteuid(), at.url, clientID, filepath.Join(folder, "secret"), at.caFile, filepath.Join(folder, "audit.jsonl")),
	})
	s.audit = filepath.Join(folder, "audit.jsonl")
	return s
}

// atIssuer begins a sign-in at the issuer.
func (s *scene) atIssuer(page *browsertest.Page) {
	s.Helper()
	page.Go(s.address + "/sign-in")
	page.Click(`a[href^="/sign-in/openid/work"]`)
	page.AwaitText("#consent", "Sign in as alice")
}

// TestOpenID checks that people sign in at an issuer of another site, and that a grant names their
// group.
func TestOpenID(t *testing.T) {
	t.Parallel()
	at := newIssuer(t)
	s := serveOpenID(t, at)
	s.addMail()
	s.create("open", "Open", "", "sendpulse", "api_key", map[string]string{"api_key": "any"})
	at.does(fault{claims: authtest.Claims{"name": "Alice Meyer", "email": "alice@example.org"}})
	page := browsertest.Open(t, s.address+"/credentials/mail/edit")
	page.AwaitPath("/sign-in")
	page.Click(`a[href^="/sign-in/openid/work"]`)
	page.Click("#consent")
	page.AwaitPath("/credentials/mail/edit") // the page that was opened first
	page.AwaitText(".who", "Alice Meyer")
	page.Type("#description", "edited by a member of the group")
	page.Click("main form button")
	page.AwaitText("main", "The changes are saved.")
	page.AwaitText(`section[aria-labelledby="history"]`, "oidc:work:alice")
	page.Go(s.address + "/credentials/open")
	page.AwaitText("h1", "Open")
	if page.Has(`a[href$="/edit"]`) {
		t.Error("a person may edit a credential that the group may not manage")
	}

	at.does(fault{claims: authtest.Claims{"groups": nil}})
	other := browsertest.Open(t, s.address+"/sign-in")
	s.atIssuer(other)
	other.Click("#consent")
	other.AwaitPath("/credentials")
	other.AwaitText(".who", "oidc:work:alice")
	other.Go(s.address + "/credentials/open")
	other.AwaitText("h1", "Open")
	other.Go(s.address + "/credentials/mail")
	other.AwaitText("main", "You may not do this")
}

// TestOpenIDRefused checks that a wrong answer of the issuer, and a wrong request of the browser, sign
// nobody in.
func TestOpenIDRefused(t *testing.T) {
	t.Parallel()
	at := newIssuer(t)
	s := serveOpenID(t, at)
	page := browsertest.Open(t, s.address+"/sign-in")
	const answer, begin = "The broker did not accept the answer of the issuer.", "began in another browser"
	stranger := authtest.NewEC(at.key.ID)
	for _, c := range []struct {
		name string
		does fault
		want string
	}{
		{"a nonce of another sign-in", fault{claims: authtest.Claims{"nonce": "another"}}, answer},
		{"no nonce", fault{claims: authtest.Claims{"nonce": nil}}, answer},
		{"an ended ID token", fault{claims: authtest.Claims{"exp": time.Now().Add(-time.Minute).Unix()}}, answer},
		{"another audience", fault{claims: authtest.Claims{"aud": "another"}}, answer},
		{"another issuer", fault{claims: authtest.Claims{"iss": "https://another.example"}}, answer},
		{"a key that the issuer does not publish", fault{key: &stranger}, answer},
		{"a subject that cannot be a name", fault{claims: authtest.Claims{"sub": "ali\u202ece"}}, answer},
		{"a code that the issuer does not know", fault{code: "another"}, answer},
		{"another state", fault{state: "another"}, begin},
	} {
		at.does(c.does)
		s.atIssuer(page)
		page.Click("#consent")
		page.AwaitText("main .notice", c.want)
		s.expectSignedOut(c.name, page)
	}

	at.does(fault{})
	s.atIssuer(page)
	back := browsertest.Eval[string](page, `document.querySelector("#consent").href`)
	other := browsertest.Open(t, back) // has no cookie of the sign-in
	other.AwaitText("main .notice", begin)
	s.expectSignedOut("an address that leads back in another browser", other)
	page.Go(back)
	page.AwaitPath("/credentials")
	page.Click(`form[action="/sign-out"] button`)
	page.AwaitPath("/sign-in")
	page.Go(back)
	page.AwaitText("main .notice", begin)
	s.expectSignedOut("the same address again", page)

	s.atIssuer(page)
	used := strings.Replace(browsertest.Eval[string](page, `document.querySelector("#consent").href`), "code=", "code="+codeOf(back)+"&unused=", 1)
	page.Go(used)
	page.AwaitText("main .notice", answer)
	s.expectSignedOut("a used code in a new sign-in", page)

	s.atIssuer(page)
	at.does(fault{down: true})
	page.Click("#consent")
	page.AwaitText("main .notice", answer)
	s.expectSignedOut("an issuer that is down", page)
}

func codeOf(location string) string {
	_, after, _ := strings.Cut(location, "code=")
	code, _, _ := strings.Cut(after, "&")
	return code
}

// expectSignedOut opens a page that only signed-in people can see.
func (s *scene) expectSignedOut(what string, page *browsertest.Page) {
	s.Helper()
	page.Go(s.address + "/credentials")
	if path := page.Path(); !strings.HasPrefix(path, "/sign-in") {
		s.Errorf("%s: the browser shows %s, want the sign-in page", what, path)
	}
}

// TestIssuerIsDown checks that the sign-in page shows an error if the issuer cannot be reached, and that
// people can still use a link.
func TestIssuerIsDown(t *testing.T) {
	t.Parallel()
	at := newIssuer(t)
	s := serveOpenID(t, at)
	at.does(fault{down: true})
	page := browsertest.Open(t, s.address+"/sign-in")
	page.Click(`a[href^="/sign-in/openid/work"]`)
	page.AwaitText("main .notice", "The issuer cannot be reached")
	s.expectSignedOut("an issuer that is down", page)
	page.Go(s.link())
	page.Click("main button")
	page.AwaitPath("/credentials")
}
