package consoletest_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"unicode"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/browsertest"
)

// hostile are texts that attack a page or the person who reads it, by what they are.
var hostile = map[string]string{
	"markup":     `</title></textarea><script>attacked=1</script>"'><img src=x onerror=attacked=2 id=attacker><style>body{display:none}</style>`,
	"template":   `{{.}} ${attacked=3} <div hx-get=/fleet hx-trigger=load id=attacker></div>`,
	"directions": "safe\u202etxet desrever\u2067\u2066" + strings.Repeat("W", 100),
	"terminal":   "\x1b[31mred\x1b]0;title\x07", // only a provider's texts can contain it: see TestControlCharacters
}

// withoutControls returns a text without control characters.
func withoutControls(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, text)
}

// inert is a script that returns what is wrong with a page that shows hostile texts.
const inert = `(() => {
	const wrong = [];
	if (window.attacked) wrong.push("a script ran: " + window.attacked);
	if (document.querySelector("#attacker, img:not(header img), iframe, main script, main style, [onerror]")) wrong.push("a text became an element");
	if (getComputedStyle(document.body).display === "none") wrong.push("a text hides the page");
	if (document.documentElement.scrollWidth > innerWidth) wrong.push("a text makes the page " + document.documentElement.scrollWidth + " pixels wide");
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const inside = texts.currentNode.parentElement.closest("bdi, textarea, option, pre, code");
		if (texts.currentNode.data.includes("\u202e") && !inside) wrong.push("a text can turn the direction of: " + texts.currentNode.parentElement.outerHTML);
	}
	return wrong;
})()`

// hostileConfig has a provider with hostile texts.
func hostileConfig(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`authentication: {peer_user: true}
grants:
- {callers: ["uid:%[1]d"], credentials: ["*"], actions: [use, manage, operate]}
providers:
- id: evil
  display_name: %[2]s
  description: %[2]s
  allowed_hosts: [api.example.test]
  auth_methods:
  - id: key
    display_name: %[2]s
    description: %[2]s
    fields:
    - {id: account, display_name: %[2]s, description: %[2]s, required: true, secret: false}
    - {id: key, display_name: %[2]s, required: true, secret: true}
    headers: [{name: x-key, value: "${key}"}]
    query_params: [{name: account, value: "${account}"}]
`, os.Geteuid(), quoted)
}

// TestHostileTexts shows hostile texts of providers and people on every page, 320 pixels wide.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	for what, text := range hostile {
		t.Run(what, func(t *testing.T) {
			s := serve(t, hostileConfig(text))
			text := withoutControls(text)
			s.create("mail", text, strings.Repeat(text, 4000/len(text)), "evil", "key", map[string]string{"account": strings.Trim(text, "\u202e\u2066\u2067")[:4], "key": "k"})
			s.edit("mail", func(c *authmaterialv1.Credential) { c.Labels = map[string]string{"team": text[:min(len(text), 60)]} })
			page := s.signedIn()
			page.Size(320, 900)
			for _, path := range []string{
				"/credentials", "/credentials/mail", "/credentials/mail/edit", "/credentials/mail/rotate",
				"/add", "/add/evil/key", "/providers", "/providers/evil", "/fleet",
			} {
				page.Go(s.address + path)
				page.Await("main h1")
				for _, wrong := range browsertest.Eval[[]string](page, inert) {
					t.Errorf("%s: %s", path, wrong)
				}
			}
			page.Go(s.address + "/credentials/mail")
			if shown := page.Await("h1"); !strings.Contains(shown, strings.TrimSpace(text)) {
				t.Errorf("the page shows the name as %q", shown)
			}
		})
	}
}

// TestHostileInputs puts hostile texts into addresses and forms.
func TestHostileInputs(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	s.create("mail", "Mail", "", "sendpulse", "api_key", map[string]string{"api_key": "key-of-mail"})
	page := s.signedIn()
	for what, text := range hostile {
		for _, path := range []string{
			"/credentials?search=%s", "/credentials?label=%s", "/credentials?provider=%s", "/credentials?page=%s", "/add?search=%s", "/credentials/%s",
			"/providers/%s", "/add/%s/%s", "/credentials/mail?done=%s", "/credentials/mail/access?caller=%s", "/%s", "/sign-in?next=%s", "/sign-in?code=%s",
			"/sign-in/openid/%s", "/sign-in/callback?error=%s&state=%s",
		} {
			page.Go(s.address + strings.ReplaceAll(path, "%s", strings.ReplaceAll(url.QueryEscape(text), "+", "%20")))
			page.Await("main h1")
			for _, wrong := range browsertest.Eval[[]string](page, inert) {
				t.Errorf("%s in %s: %s", what, path, wrong)
			}
		}
		etag := s.etag("mail")
		answered := post(page, "/credentials/mail/activate", map[string][]string{"version": {"1"}, "do": {"canary"}, "callers": {"token:" + strings.ReplaceAll(text, " ", "/")}, "etag": {etag}})
		if strings.Contains(answered.Text, "<script>attacked") || strings.Contains(answered.Text, "<img src=x") || strings.Contains(answered.Text, "id=attacker>") {
			t.Errorf("%s as a caller: the answer has the status %d:\n%s", what, answered.Status, answered.Text)
		}
	}
}

// TestControlCharacters checks that people's texts cannot contain the codes that control a terminal.
func TestControlCharacters(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	for _, text := range []string{"a\x1b[31mb", "a\x1b]0;title\x07b", "a\x00b", "a\rb", "a\u009bb"} {
		for where, credential := range map[string]*authmaterialv1.Credential{
			"name":        {DisplayName: text},
			"description": {DisplayName: "Mail", Description: text},
			"label":       {DisplayName: "Mail", Labels: map[string]string{"team": text}},
		} {
			credential.Provider, credential.AuthMethod = "sendpulse", "api_key"
			_, err := s.api().CreateCredential(t.Context(), &authmaterialv1.CreateCredentialRequest{
				CredentialId: "mail", Credential: credential, Values: []*authmaterialv1.FieldValue{{Field: "api_key", Value: "k"}},
			})
			if status.Code(err) != codes.InvalidArgument {
				t.Errorf("with %q in the %s, the error is %v", text, where, err)
			}
		}
	}
}
