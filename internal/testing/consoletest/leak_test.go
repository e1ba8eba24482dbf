package consoletest_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/testing/browsertest"
	"github.com/authmaterial/broker/internal/testing/leaktest"
)

// TestNoSecretInBrowser saves credentials of all auth methods, partly in the browser, and then searches
// all pages, the event stream, the browser's stores and its profile on disk for the secrets.
func TestNoSecretInBrowser(t *testing.T) {
	t.Parallel()
	s := serve(t, defaultAccess()+"providers:\n"+robotProvider)
	var finder leaktest.Finder
	canaries := func(a account) map[string]string {
		values := map[string]string{}
		for field := range a.values {
			values[field] = "k" + strings.NewReplacer(`"`, "-", `\`, "-").Replace(leaktest.Canary())
			if field != "client_id" { // it is not a secret, and the pages show it
				finder.Add(a.name+"'s "+field, values[field])
			}
		}
		return values
	}
	var ids []string
	for n, a := range accounts(s.simulator) {
		id := fmt.Sprintf("leak-%d", n)
		ids = append(ids, s.create(id, a.name, "", a.provider, a.method, canaries(a)))
		_, _ = s.decoration(id) // a call whose token request fails
	}
	browser := browsertest.Start(t)
	page := browser.Open(s.link())
	page.Click("main button")
	page.AwaitPath("/credentials")
	typed := accounts(s.simulator)[0]
	page.Go(s.address + "/credentials/leak-0/rotate")
	fill(page, canaries(typed))
	page.Click(`button[data-reveal="values.client_secret"]`)
	page.Click(`button[value="store"]`)
	page.AwaitText("main", "The new version is saved.")
	key := "k" + leaktest.Canary()
	finder.Add("the private key", key)
	page.Go(s.address + "/add/robot/key")
	page.Type(`input[name="display_name"]`, "Robot")
	page.Type(field("client_id"), "id")
	page.Type(field("client_secret"), "secret")
	page.Click("details:has(textarea[data-secret]) summary")
	page.Type("textarea[data-secret]", key+"\nsecond line")
	page.Click(`button[data-reveal="lines.private_key"]`)
	page.Click(`button[value="save"]`)
	page.AwaitText("main", "The credential is saved.")
	ids = append(ids, "robot")
	if got := page.Visited(); strings.Contains(strings.Join(got, " "), "code=") {
		t.Errorf("the history has the code of the sign-in link: %q", got)
	}

	paths := []string{
		"/credentials", "/credentials?deleted=1", "/add", "/add/sendpulse/oauth2_client_credentials", "/providers", "/providers/sendpulse",
		"/fleet", "/sign-in", "/nothing",
	}
	for _, id := range ids {
		paths = append(paths, "/credentials/"+id, "/credentials/"+id+"/edit", "/credentials/"+id+"/rotate", "/credentials/"+id+"/access?caller=token:web")
	}
	admin := s.client("admin")
	search := func(where, text string) {
		t.Helper()
		for _, found := range finder.Search(where, []byte(text)) {
			t.Error(found)
		}
	}
	for _, path := range paths {
		search(path, admin.read(path))
		page.Go(s.address + path)
		search(path+" in the browser", browsertest.Eval[string](page, `document.documentElement.outerHTML + JSON.stringify(localStorage) +
			JSON.stringify(sessionStorage) + document.cookie + JSON.stringify([...document.querySelectorAll("input, textarea")].map((field) => field.value))`))
	}
	search("the event stream", admin.events(ids))
	for path, form := range map[string]url.Values{
		"/credentials/leak-0/rotate": {"do": {"store"}, "etag": {"stale"}}, "/add/sendpulse/oauth2_client_credentials": {"do": {"save"}},
	} {
		for field, value := range canaries(typed) {
			form.Set("values."+field, value)
		}
		refused := post(page, path, form)
		if search("the answer to a refused form of "+path, refused.Text); refused.Status == http.StatusOK {
			t.Errorf("the form of %s was not refused", path)
		}
	}
	if stores := browsertest.Promised[[]string](page, `(async () => [...Object.keys(localStorage), ...Object.keys(sessionStorage),
		...await caches.keys(), ...(await indexedDB.databases()).map((database) => database.name)])()`); !slices.Equal(stores, []string{"htmx-current-path-for-history"}) {
		t.Errorf("the console has stored %q in the browser, want only a path", stores)
	}
	browser.End()
	searchProfile(t, browser.Folder(), search)
}

// events returns the first events of the stream of states.
func (c *client) events(ids []string) string {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.address+"/states?id="+strings.Join(ids, "&id="), nil)
	if err != nil {
		c.Fatal(err)
	}
	answer, err := c.Do(request)
	if err != nil {
		c.Fatal(err)
	}
	defer answer.Body.Close()
	var got bytes.Buffer
	for part := make([]byte, 4096); strings.Count(got.String(), "\n\n") < len(ids); {
		n, err := answer.Body.Read(part)
		if got.Write(part[:n]); err != nil {
			c.Fatalf("the stream ends after %q: %v", got.String(), err)
		}
	}
	return fmt.Sprint(answer.Header, got.String())
}

// searchProfile searches all files of a browser's profile. The browser keeps the console's assets, so
// the search must find them.
func searchProfile(t *testing.T, folder string, search func(where, text string)) {
	t.Helper()
	kept := false
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil //nolint:nilerr // the browser may still remove files
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		kept = kept || bytes.Contains(text, []byte("htmx.min.js"))
		search("the browser's file "+filepath.Base(path), string(text))
		return nil
	})
	if err != nil || !kept {
		t.Errorf("the browser's profile has no trace of the console (%v)", err)
	}
}
