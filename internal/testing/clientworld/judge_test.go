package clientworld_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/testing/clientworld"
)

// vector returns a vector with the given steps.
func vector(steps ...string) string {
	return fmt.Sprintf(`{"rules": [1], "description": "a test", "steps": [%s]}`, strings.Join(steps, ","))
}

const serve, passes = `{"serve": {"pendo": {"version": "v1"}}}`, `{"request": {}, "expect": {"status": 200}}`

// result returns the first result in the outcome of a request.
func result(outcome object) object { return outcome["results"].([]object)[0] }

// TestWrongOutcomesFail falsifies outcomes and expects things that do not happen.
func TestWrongOutcomesFail(t *testing.T) {
	same := func(string, object) {}
	onRequest := func(change func(outcome object)) func(string, object) {
		return func(op string, outcome object) {
			if op == "request" {
				change(outcome)
			}
		}
	}
	onTexts := func(text string) func(string, object) {
		return func(op string, outcome object) {
			if op == "texts" {
				outcome["texts"] = []string{text}
			}
		}
	}
	answers500 := `{"providers": {"api": [{"status": 500}]}}`
	for name, test := range map[string]struct {
		vector string
		change func(op string, outcome object)
		why    string
	}{
		"a secret in a text":         {vector(serve, passes), onTexts("x secret-v1 y"), `contains the secrets`},
		"an encoded secret":          {vector(serve, passes), onTexts("x s%65cret-v1 y"), `contains the secrets`},
		"a twice encoded secret":     {vector(serve, passes), onTexts("x s%2565cret-v1 y"), `contains the secrets`},
		"no texts":                   {vector(serve, passes), func(_ string, o object) { delete(o, "texts") }, "has no texts"},
		"a secret in the URL":        {vector(serve, passes), onRequest(func(o object) { result(o)["url"] = "http://x/?a=secret-v1" }), "contains the secrets"},
		"a missing result":           {vector(serve, passes), onRequest(func(o object) { o["results"] = []object{} }), "has 0 results, want 1"},
		"another status":             {vector(serve, answers500, passes), same, "the status is 500, want 200"},
		"another body":               {vector(serve, `{"request": {}, "expect": {"body": "no"}}`), same, `the body is "ok", want "no"`},
		"a missing response header":  {vector(serve, `{"request": {}, "expect": {"headers": {"X-A": "b"}}}`), same, `the header X-A is [], want ["b"]`},
		"an error without its ID":    {vector(`{"request": {}}`), onRequest(func(o object) { result(o)["error"] = object{"reason": "X"} }), `has the credential ID ""`},
		"another reason":             {vector(serve, `{"request": {"url": "http://{other}/"}, "expect": {"error": {"reason": "X"}}}`), same, `the reason "HOST_NOT_ALLOWED", want "X"`},
		"no error":                   {vector(serve, `{"request": {}, "expect": {"error": {}}}`), same, "succeeded with status 200"},
		"an error":                   {vector(passes), same, "the request failed"},
		"no retry delay":             {vector(`{"request": {}, "expect": {"error": {"retry": [1, 2]}}}`), same, "the retry delay none, want 1 to 2"},
		"a changed URL":              {vector(serve, passes), onRequest(func(o object) { o["request_after"] = object{"url": "http://x/"} }), "has the URL"},
		"an unexpected request":      {vector(serve, `{"request": {}, "expect": {"seen": []}}`), same, "1 requests more than expected"},
		"a missing request":          {vector(serve, `{"request": {}, "expect": {"seen": [{}, {}]}}`), same, "did not get request 2"},
		"another target":             {vector(serve, `{"request": {"url": "http://{api}/a"}, "expect": {"seen": [{"target": "/b"}]}}`), same, `"/a", want "/b"`},
		"a missing parameter":        {vector(serve, `{"request": {"url": "http://{api}/a"}, "expect": {"seen": [{"target": "/a", "added": [["k", "v"]]}]}}`), same, `"k" is missing`},
		"a parameter encoded twice":  {vector(serve, `{"request": {"url": "http://{api}/a?k=%2520"}, "expect": {"seen": [{"target": "/a", "added": [["k", " "]]}]}}`), same, "encoded once"},
		"another method":             {vector(serve, `{"request": {}, "expect": {"seen": [{"method": "PUT"}]}}`), same, "the method is GET, want PUT"},
		"another request header":     {vector(serve, `{"request": {}, "expect": {"seen": [{"headers": {"Authorization": null}}]}}`), same, "the header Authorization"},
		"too many calls":             {vector(serve, passes, `{"expect_calls": {"get": 0}}`), same, "1 calls of get, want 0"},
		"too few calls":              {vector(`{"new": {}}`, `{"expect_calls": {"get": [1, 2]}}`), same, "0 calls of get, want 1 to 2"},
		"calls not at the same time": {vector(serve, `{"answers": {"get": [{"gather": 2}]}}`, passes), same, "only 1 calls of get arrived, want 2"},
		"too many streams":           {vector(serve, passes, `{"new": {}}`, passes, `{"wait": {"calls": {"watch": 2}}}`, `{"expect_calls": {"watch_interval": "1h"}}`), same, "2 calls of watch in"},
		"a call without the token":   {strings.Replace(vector(serve, passes), `{"rules"`, `{"token": "broker-token-1", "rules"`, 1), same, `the token "", want "broker-token-1"`},
		"an unsupported request":     {vector(`{"apply": {"url": "http://x/"}, "expect": {"url": "http://x/"}}`), same, "as unsupported"},
		"something that never comes": {vector(`{"wait": {"streams": 1, "within": "10ms"}}`), same, "did not happen within 10ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRunner(t, map[string]string{"it": test.vector})
			r.change = test.change
			last := r.runVector("it")
			if why, _ := last["why"].(string); last["op"] != "failed" || !strings.Contains(why, test.why) {
				t.Errorf("the last operation is %v, want failed because: %s", last, test.why)
			}
		})
	}
}

func TestAnUnsupportedForkIsSkipped(t *testing.T) {
	last := newRunner(t, map[string]string{"it": vector(serve, `{"fork": {}}`)}).runVector("it")
	if why, _ := last["why"].(string); last["op"] != "done" || !strings.HasPrefix(why, "skipped") {
		t.Errorf("the last operation is %v, want done, and skipped", last)
	}
}

func TestMaterialAtAnotherHostFails(t *testing.T) {
	text := vector(serve, `{"providers": {"api": [{"status": 302, "location": "http://{other}/next"}]}}`, `{"request": {}}`)
	r := newRunner(t, map[string]string{"it": text})
	r.breaks = "redirects"
	last := r.runVector("it")
	if why, _ := last["why"].(string); !strings.Contains(why, "the provider other received material that it must not get") {
		t.Errorf("the last operation is %v, want failed because of the material", last)
	}
}

func TestMalformedVectors(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                                "unexpected EOF",
		vector(`{"nope": 1}`):              `unknown field "nope"`,
		vector(`{}`):                       "step 1: the step is empty",
		vector(`{"new": {}, "serve": {}}`): "does serve and new",
		`{"rules": [1], "description": "x", "steps": []}`: "steps are required",
	} {
		_, err := clientworld.NewServer(map[string][]byte{"it": []byte(text)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v, want %s", text, err, want)
		}
	}
}

func TestUnknownVectorsAndSessions(t *testing.T) {
	r := newRunner(t, nil)
	for _, path := range []string{"/vectors/nope", "/sessions/1"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: the status is %d, want 404", path, response.StatusCode)
		}
	}
}
