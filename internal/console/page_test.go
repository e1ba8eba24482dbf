package console_test

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
)

func partial(r *http.Request) { r.Header.Set("HX-Request", "true") }

// TestWithoutSession checks how the console asks people to sign in, and that a form changes nothing.
func TestWithoutSession(t *testing.T) {
	w := newWorld(t, nil)
	for _, c := range []struct {
		method, path, location, part string
		status                       int
		partial                      bool
	}{
		{"GET", "/", "/sign-in", "", 303, false},
		{"GET", "/credentials?search=a", "/sign-in?next=%2Fcredentials%3Fsearch%3Da", "", 303, false},
		{"POST", "/add/acme/key", "", "", 401, false},
		{"POST", "/add/acme/key", "", "", 200, true}, // the part of the form for problems
		{"POST", "/credentials/mail/delete", "", "", 401, false},
		{"POST", "/sign-out", "/sign-in", "", 303, false},
		{"GET", "/credentials", "", "/sign-in", 200, true},
		{"GET", "/states?id=mail", "", "", 401, false},
		{"GET", "/nothing", "/sign-in?next=%2Fnothing", "", 303, false},
	} {
		var changes []func(*http.Request)
		if c.partial {
			changes = append(changes, partial)
		}
		answer := w.send(c.method, c.path, nil, nil, changes...)
		if answer.StatusCode != c.status || answer.Header.Get("Location") != c.location || answer.Header.Get("Hx-Redirect") != c.part {
			t.Errorf("%+v: the answer is %d %v", c, answer.StatusCode, answer.Header)
		}
		if told := strings.Contains(answer.text, `Your session has ended, so nothing was saved. <a href="/sign-in" target="_blank">`); told != (c.method == "POST" && c.location == "") {
			t.Errorf("%+v: the answer is %s", c, answer.text)
		}
	}
	if w.api.created != nil {
		t.Error("a form without a session made a call")
	}
}

// TestSecretsStay checks that an answer does not contain the secret that a person typed, whether or
// not the API refuses it, and that other values are shown again.
func TestSecretsStay(t *testing.T) {
	refusal := connect.NewError(connect.CodeInvalidArgument, errors.New("the request is invalid"))
	detail, err := connect.NewErrorDetail(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: "values.key", Description: "the key is too short"}, {Field: "etag", Description: "an etag is missing"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	refusal.AddDetail(detail)
	form := url.Values{"display_name": {`Mail "2" <b>`}, "values.key": {canary}, "values.account": {"acc-1"}, "do": {"save"}, "values.unknown": {"u"}}
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	w.api.failure = refusal
	for _, part := range []bool{false, true} {
		answer := w.send(http.MethodPost, "/add/acme/key", form, cookie, func(r *http.Request) {
			if part {
				partial(r)
			}
		})
		text := answer.text
		for _, want := range []string{"The key is too short.", "An etag is missing.", "Some values must be corrected"} {
			if !strings.Contains(text, want) {
				t.Errorf("part=%t: the answer lacks %q:\n%s", part, want, text)
			}
		}
		if strings.Contains(text, canary) || strings.Contains(text, "<b>") || strings.Contains(text, "<html") == part || !part && !strings.Contains(text, `value="acc-1"`) {
			t.Errorf("part=%t: the answer is %s", part, text)
		}
		if want := map[bool]int{false: 422, true: 200}[part]; answer.StatusCode != want {
			t.Errorf("part=%t: the status is %d, want %d", part, answer.StatusCode, want)
		}
	}
	if values := w.api.created.GetValues(); len(values) != 2 || values[1].GetField() != "key" || values[1].GetValue() != canary {
		t.Errorf("the call has %d values, or the wrong ones", len(values))
	}
	w.api.failure = nil
	if answer := w.send(http.MethodPost, "/add/acme/key", form, cookie); answer.Header.Get("Location") != "/credentials/mail?done=created" {
		t.Errorf("the form leads to %q", answer.Header.Get("Location"))
	}
	if answer := w.send(http.MethodPost, "/add/acme/key", form, cookie, partial); answer.Header.Get("Hx-Redirect") != "/credentials/mail?done=created" {
		t.Errorf("the part leads to %q", answer.Header.Get("Hx-Redirect"))
	}
}

// TestProblems checks pages that cannot be shown, or not completely.
func TestProblems(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/credentials/mail":                {200, "The broker cannot reach the credential store. This page shows no versions and no history"},
		"/credentials/nothing":             {404, "No credential has this ID."},
		"/credentials/" + canary:           {404, "No credential has this ID."},
		"/fleet":                           {403, "You may not operate. The operator of the broker can add a grant"},
		"/add/acme/nothing":                {404, "There is no such page."},
		"/providers/nothing":               {404, "No provider has this ID."},
		"/" + canary:                       {404, "There is no such page."},
		"/credentials/mail?done=" + canary: {200, "Mail"},
		"/credentials/mail?done=activated": {200, "Callers get this version now."},
	} {
		answer := w.get(path, cookie)
		if text := answer.text; answer.StatusCode != want.status || !strings.Contains(text, want.text) || strings.Contains(text, canary) {
			t.Errorf("%s has the status %d:\n%s", path, answer.StatusCode, text)
		}
	}
	if text := w.send(http.MethodGet, "/credentials/nothing", nil, cookie, partial).text; strings.Contains(text, "<html") || !strings.Contains(text, "No credential has this ID.") {
		t.Errorf("the part is %s", text)
	}
}

// stream opens the stream of states, and returns its first line and the function that waits for its end.
func (w *world) stream(cookie *http.Cookie) (first string, end func()) {
	w.Helper()
	w.api.watches = make(chan context.Context, 1)
	server := httptest.NewServer(w)
	w.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
	w.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/states?id=mail", nil)
	if err != nil {
		w.Fatal(err)
	}
	request.AddCookie(cookie)
	answer, err := server.Client().Do(request)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = answer.Body.Close() })
	if kind := answer.Header.Get("Content-Type"); kind != "text/event-stream" || answer.Header.Get("Cache-Control") != "no-store" {
		w.Fatalf("the stream has the headers %v", answer.Header)
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Scan()
	<-w.api.watches
	return lines.Text(), func() {
		w.Helper()
		var rest []string
		for lines.Scan() {
			rest = append(rest, lines.Text())
		}
		if text := strings.TrimSpace(strings.Join(rest, "\n")); lines.Err() != nil || text != "" {
			w.Errorf("the stream ends with %q and the error %v", text, lines.Err())
		}
	}
}

// TestStreamEnds checks that an event stream ends with its session and with the server, and shows no
// error of the watch.
func TestStreamEnds(t *testing.T) {
	for what, act := range map[string]func(*world, *http.Cookie){
		"a sign-out": func(w *world, c *http.Cookie) { w.send(http.MethodPost, "/sign-out", nil, c) },
		"8 hours":    func(w *world, _ *http.Cookie) { w.clock.Advance(8 * time.Hour) },
		"another sign-in": func(w *world, c *http.Cookie) {
			w.send(http.MethodPost, "/sign-in", url.Values{"token": {token("ann")}}, c)
		},
		"the limit of sessions": func(w *world, _ *http.Cookie) {
			w.clock.Advance(time.Second)
			for range 20 {
				w.signIn("ann")
			}
		},
		"the removal of a token": func(w *world, c *http.Cookie) { delete(w.callers, token("ann")); w.isSignedIn(c) },
		"the end of the server":  func(w *world, _ *http.Cookie) { w.stop() },
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, nil)
			cookie := w.signIn("ann")
			first, end := w.stream(cookie)
			if first != `data: {"id":"mail","word":"Ready","class":"good","etag":"1"}` {
				t.Errorf("the first event is %s", first)
			}
			act(w, cookie)
			end()
		})
	}
}

// TestStreamRefused checks streams that cannot begin.
func TestStreamRefused(t *testing.T) {
	w := newWorld(t, nil)
	cookie := w.signIn("ann")
	w.api.failure = connect.NewError(connect.CodeResourceExhausted, errors.New("too many watches"))
	if answer := w.get("/states?id=mail", cookie); answer.StatusCode != http.StatusTooManyRequests {
		t.Errorf("with too many watches, the status is %d", answer.StatusCode)
	}
	many := "/states?" + strings.Join(slices.Repeat([]string{"id=a"}, 49), "&")
	for _, path := range []string{"/states", many} {
		if answer := w.get(path, cookie); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%.20s has the status %d", path, answer.StatusCode)
		}
	}
}
