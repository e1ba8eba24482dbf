package consoletest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/testing/browsertest"
)

// manyCredentials is the number of credentials of TestMany.
const manyCredentials = 10_000

// manyConfig declares many credentials, and two callers who may see some of them.
func manyConfig() string {
	var text strings.Builder
	fmt.Fprintf(&text, `authentication: {peer_user: true, tokens: [{name: viewer, sha256: %q}, {name: admin, sha256: %q}]}
grants:
- {callers: ["uid:%d", "token:admin"], credentials: ["*"], actions: [use, manage, operate]}
- {callers: ["token:viewer"], credentials: ["number-0500*", "number-9999"], actions: [view]}
credentials:
`, hashOf("viewer"), hashOf("admin"), os.Geteuid())
	for n := range manyCredentials {
		fmt.Fprintf(&text, "- {id: number-%05d, display_name: Number %05d, provider: pulsedive, auth_method: api_key, values: {api_key: {env: KEY}}}\n", n, n)
	}
	return text.String()
}

var tileLink = regexp.MustCompile(`class="cover" href="/credentials/(number-\d+)"`)

// TestMany checks that the list of many credentials is divided into pages.
func TestMany(t *testing.T) {
	t.Parallel()
	s := serve(t, manyConfig())
	page := s.signedIn()
	const tiles = `document.querySelectorAll("#found a.cover[href^=\"/credentials/number\"]").length`
	if got := browsertest.Eval[int](page, tiles); got != 48 {
		t.Errorf("the first page has %d tiles", got)
	}
	page.Type("#search", "Number 07")
	page.AwaitText("#found .tile:first-child", "Number 07000")
	page.Click("#found > p a.button")
	page.AwaitText("#found .tile:first-child", "Number 07048")

	const allPages = (manyCredentials + 47) / 48
	if found, pages := s.client("admin").list("/credentials"); len(found) != manyCredentials || pages != allPages {
		t.Errorf("a caller who may view all credentials sees %d of them on %d pages, want %d pages", len(found), pages, allPages)
	}
	client := s.client("viewer")
	if found, pages := client.list("/credentials"); len(found) != 10 || pages != 1 {
		t.Errorf("a caller who may view 10 credentials sees %d of them on %d pages", len(found), pages)
	}
}

// client is an HTTP client that has signed in to the console.
type client struct {
	*scene
	http.Client
}

// client signs in with the token of a caller.
func (s *scene) client(caller string) *client {
	s.Helper()
	c := &client{scene: s}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := c.PostForm(s.address+"/sign-in", url.Values{"token": {tokenOf(caller)}}) //nolint:noctx // a test
	if err != nil {
		s.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusSeeOther {
		s.Fatalf("the sign-in has the status %d", answer.StatusCode)
	}
	c.Transport = withCookie{answer.Cookies()[0]}
	return c
}

type withCookie struct{ *http.Cookie }

// RoundTrip implements http.RoundTripper.
func (c withCookie) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.AddCookie(c.Cookie)
	return http.DefaultTransport.RoundTrip(r)
}

// read returns the status line, the headers and the body of an answer.
func (c *client) read(path string) string {
	c.Helper()
	answer, err := c.Get(c.address + path) //nolint:noctx // a test
	if err != nil {
		c.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		c.Fatal(err)
	}
	return fmt.Sprint(answer.Status, answer.Header, "\n", string(text))
}

var nextPage = regexp.MustCompile(`<p[^>]*><a class="button" href="(/credentials\?[^"]*)">Next page`)

// list follows the links to the next page, and returns all IDs and the number of pages.
func (c *client) list(path string) (found map[string]bool, pages int) {
	c.Helper()
	found = map[string]bool{}
	for path != "" {
		pages++
		text := c.read(path)
		for _, tile := range tileLink.FindAllStringSubmatch(text, -1) {
			if found[tile[1]] {
				c.Fatalf("%s is on two pages", tile[1])
			}
			found[tile[1]] = true
		}
		next := nextPage.FindStringSubmatch(text)
		if next == nil {
			return found, pages
		}
		path = strings.ReplaceAll(next[1], "&amp;", "&")
	}
	return found, pages
}
