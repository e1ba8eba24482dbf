package consoletest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/testing/browsertest"
)

// attacker is a server on another port of this machine. Its pages are empty.
type attacker struct {
	*httptest.Server
	cookies chan string // the header Cookie of each request for /steal
}

func newAttacker(t *testing.T) *attacker {
	t.Helper()
	a := &attacker{cookies: make(chan string, 10)}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/steal" {
			a.cookies <- r.Header.Get("Cookie")
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, "<!doctype html><title>Attacker</title><main>Attacker</main>")
	}))
	t.Cleanup(a.Close)
	return a
}

// sites returns the attacker's addresses: the first one is another origin of the same site, and the
// second one another site.
func (a *attacker) sites() []string {
	return []string{a.URL, strings.Replace(a.URL, "127.0.0.1", "localhost", 1)}
}

// reads is a script that tries to get an answer of the console, and returns what it got.
const reads = `(async () => {
	const got = [];
	const attempt = async (what, does) => { try { got.push(what + ": " + await does()); } catch { got.push(what + ": refused"); } };
	await attempt("fetch", async () => (await fetch(CONSOLE + "/credentials", {credentials: "include"})).text());
	await attempt("JSON", async () => (await fetch(CONSOLE + "/credentials/mail/delete", {method: "POST", credentials: "include", headers: {"content-type": "application/json"}, body: "{}"})).text());
	await attempt("opaque", async () => (await fetch(CONSOLE + "/credentials", {mode: "no-cors", credentials: "include"})).type);
	await attempt("stylesheet", () => new Promise((good, bad) => {
		const link = document.createElement("link");
		link.rel = "stylesheet"; link.href = CONSOLE + ASSET; link.onload = () => good("loaded"); link.onerror = bad;
		document.head.append(link);
	}));
	await attempt("stream", () => new Promise((good, bad) => {
		const stream = new EventSource(CONSOLE + "/states?id=mail", {withCredentials: true});
		stream.onmessage = (event) => good(event.data); stream.onerror = () => { stream.close(); bad(); };
	}));
	await attempt("form", async () => (await fetch(CONSOLE + "/credentials/mail/delete", {
		method: "POST", mode: "no-cors", credentials: "include", body: new URLSearchParams({confirm: "1", etag: ETAG})})).type);
	return got;
})()`

// TestForeignPages lets pages of another origin and of another site read the console, frame it, and post
// its forms, in the browser of a person who has signed in.
func TestForeignPages(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	s.create("mail", "Mail", "", "sendpulse", "api_key", map[string]string{"api_key": "key-of-mail"})
	etag := s.etag("mail")
	owner := s.signedIn()
	asset := browsertest.Eval[string](owner, `new URL(document.querySelector("link[rel=stylesheet]").href).pathname`)
	for _, site := range newAttacker(t).sites() {
		page := owner.Tab(site)
		script := strings.NewReplacer("CONSOLE", fmt.Sprintf("%q", s.address), "ETAG", fmt.Sprintf("%q", etag), "ASSET", fmt.Sprintf("%q", asset)).Replace(reads)
		for _, got := range browsertest.Promised[[]string](page, script) {
			// The answer to a form of another origin cannot be read, whatever it is.
			if !strings.HasSuffix(got, ": refused") && got != "form: opaque" {
				t.Errorf("a page of %s got %s", site, got)
			}
		}
		browsertest.Promised[bool](page, fmt.Sprintf(`new Promise((shown) => {
			const frame = document.createElement("iframe");
			frame.onload = () => shown(true); frame.src = %q; document.body.append(frame);
		})`, s.address+"/credentials"))
		if frames := page.Frames(); len(frames) != 1 || !strings.HasPrefix(frames[0], "chrome-error:") {
			t.Errorf("a page of %s shows the console in a frame; its frames are %q", site, frames)
		}
		browsertest.Eval[bool](page, fmt.Sprintf(`(() => {
			const form = document.createElement("form");
			form.method = "post"; form.action = %q; form.innerHTML = '<input name="confirm" value="1"><input name="etag" value="%s">';
			document.body.append(form); form.submit(); return true;
		})()`, s.address+"/credentials/mail/delete", etag))
		page.AwaitText("body", "requests from pages of another site are refused")
	}
	if now := s.etag("mail"); now != etag {
		t.Error("a page of another site has changed the credential")
	}
	owner.Go(s.address + "/credentials/mail")
	owner.AwaitText("main", "Mail")
}

// TestLinksFromOtherSites follows links to the console. The browser sends the session's cookie only if
// the link is on the same site.
func TestLinksFromOtherSites(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	owner := s.signedIn()
	for n, want := range []string{"/credentials", "/sign-in"} {
		page := owner.Tab(newAttacker(t).sites()[n])
		browsertest.Eval[bool](page, fmt.Sprintf(`(() => { const a = document.createElement("a"); a.href = %q; document.body.append(a); a.click(); return true; })()`, s.address+"/credentials"))
		page.AwaitPath(want)
	}
}

// TestOwnName opens the console by a host name of the attacker's that resolves to the console's address.
func TestOwnName(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	page := browsertest.Open(t, strings.Replace(s.address, "127.0.0.1", "attacker.localhost", 1)+"/sign-in")
	page.AwaitText("body", "this is not the console's address")
}

// TestReplayedCookie steals the session's cookie, which a browser sends to all ports of a machine, and
// sends requests with it from pages of another origin.
func TestReplayedCookie(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	s.create("mail", "Mail", "", "sendpulse", "api_key", map[string]string{"api_key": "key-of-mail"})
	etag := s.etag("mail")
	owner := s.signedIn()
	if script := browsertest.Eval[string](owner, "document.cookie"); script != "" {
		t.Errorf("a script reads the cookie %s", script)
	}
	a := newAttacker(t)
	owner.Tab(a.sites()[1] + "/steal")
	if got := <-a.cookies; got != "" {
		t.Errorf("another site gets the cookies %s", got)
	}
	owner.Tab(a.URL + "/steal")
	stolen := <-a.cookies
	if stolen == "" {
		t.Fatal("the browser sends the cookie to no other port, so this test has no cookie to replay")
	}
	for name, headers := range map[string]map[string]string{
		"a script of another site":   {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Origin": a.sites()[1]},
		"a script of another origin": {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Origin": a.URL},
		"an old browser":             {"Origin": a.URL},
		"a sandboxed frame":          {"Origin": "null"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.address+"/credentials/mail/delete",
			strings.NewReader(url.Values{"confirm": {"1"}, "etag": {etag}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Cookie", stolen)
		for key, value := range headers {
			request.Header.Set(key, value)
		}
		got, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if _ = got.Body.Close(); got.StatusCode != http.StatusForbidden {
			t.Errorf("with the cookie, %s gets the status %d", name, got.StatusCode)
		}
	}
	if s.etag("mail") != etag {
		t.Error("the credential has changed")
	}
	post(owner, "/sign-out", nil)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.address+"/credentials", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Cookie", stolen)
	got, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	if _ = got.Body.Close(); got.StatusCode != http.StatusSeeOther {
		t.Errorf("after the sign-out, the cookie gets the status %d", got.StatusCode)
	}
}
