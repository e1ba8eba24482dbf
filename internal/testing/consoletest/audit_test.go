package consoletest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/testing/browsertest"
)

// TestAudit checks the audit lines of sign-ins, sign-outs and sign-in links. No line has the code of a
// link, the code of the issuer, or a token.
func TestAudit(t *testing.T) {
	t.Parallel()
	at := newIssuer(t)
	s := serveOpenID(t, at)
	link := s.link()
	page := browsertest.Open(t, link)
	page.Click("main button")
	page.AwaitPath("/credentials")
	page.Click(`form[action="/sign-out"] button`)
	page.AwaitPath("/sign-in")
	page.Type("#token", tokenOf("nobody"))
	page.Click("main form button")
	page.Await("main .bad")
	s.atIssuer(page)
	back := browsertest.Eval[string](page, `document.querySelector("#consent").href`)
	page.Click("#consent")
	page.AwaitPath("/credentials")
	text, err := os.ReadFile(s.audit)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{codeOf(link), codeOf(back), tokenOf("nobody")} {
		if secret == "" || strings.Contains(string(text), secret) {
			t.Errorf("the audit log has the secret %q", secret)
		}
	}
	user := fmt.Sprintf("uid:%d peer_user", os.Geteuid())
	want := []string{
		user + " create_sign_in_link <nil> OK", user + " sign_in link OK", user + " sign_out <nil> OK",
		"unknown none sign_in token CALLER_UNAUTHENTICATED", "oidc:work:alice oidc sign_in oidc:work OK",
	}
	if got := lines(t, string(text)); !slices.Equal(got, want) {
		t.Errorf("the audit log is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// lines returns the main parts of audit lines.
func lines(t *testing.T, text string) (parts []string) {
	t.Helper()
	for line := range strings.Lines(text) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		parts = append(parts, fmt.Sprintf("%v %v %v %v %v", record["caller"], record["method"], record["operation"], record["sign_in_with"], record["outcome"]))
	}
	return parts
}
