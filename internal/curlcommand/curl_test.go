package curlcommand_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/internal/curlcommand"
)

// TestAgainstCurl compares the request that Parse finds with the request that curl sends when a
// shell runs the same text.
func TestAgainstCurl(t *testing.T) {
	type sent struct {
		request *http.Request
		body    string
	}
	received := make(chan sent, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		received <- sent{r, string(data)}
	}))
	defer server.Close()
	for _, text := range []string{
		`curl URL/a`,
		`curl -sS 'URL/a?x=1&y=two%20words&z' -H 'X-Api-Key: it'\''s' --header "X-B:  spaced  "`,
		`curl -sSH"X-A: a\"b\$c\\d" -XDELETE URL/a`,
		"curl --silent \\\n  --request PUT \\\n  --url URL/a/b%2Fc \\\n  -d a=1 --data 'b=two words' -d c=%41",
		`curl -G URL/a?x=1 -d a=1 --data-urlencode 'b=two words&more' --data-urlencode '=c' -d verbose`,
		`curl -u 'name:pass:word' URL/a --data-raw '@x=1'`,
		`curl --user name: URL/a -I`,
		`curl http://na%20me:pa%3Ass@HOST/a`,
		`curl --json '{"a": "b", "c": "d"}' URL/a`,
		`curl -X POST URL/a -H 'Content-Type: application/json' -d '{"grant_type": "client_credentials",
  "n": "ü"}'`,
		`curl -H $'X-Quote: a\'b\x41\u0042' -H 'X-Removed:' -H 'Accept;' URL/a`,
		`curl --oauth2-bearer tok URL/a`,
		`curl -b 'a=b; c=d' -A agent -e 'http://ref.test/' URL/a --compressed -o /dev/null`,
		"curl URL/a \\\n -d 'x=y'   # a comment",
		`curl --data-binary a=b --data-ascii c=d -F1 URL/a || curl --form-string a=@b --form c=d URL/a`,
	} {
		t.Run(text, func(t *testing.T) {
			text = strings.NewReplacer("URL", server.URL, "HOST", strings.TrimPrefix(server.URL, "http://")).Replace(text)
			output, err := exec.CommandContext(t.Context(), "bash", "-c", "curl() { command curl --disable --noproxy '*' \"$@\"; }; "+text).CombinedOutput()
			if err != nil || len(received) != 1 {
				t.Fatalf("curl fails, or sends no request: %v\n%s", err, output)
			}
			got := <-received
			commands, err := curlcommand.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, commands[len(commands)-1], got.request, got.body)
		})
	}
}

func compare(t *testing.T, command *curlcommand.Command, received *http.Request, body string) {
	t.Helper()
	if command.Method != received.Method || command.URL.Host != received.Host || command.URL.EscapedPath() != received.URL.EscapedPath() {
		t.Errorf("the request is %s %s, curl sends %s %s%s", command.Method, command.URL, received.Method, received.Host, received.URL)
	}
	if diff := cmp.Diff(received.URL.Query(), values(command.Query)); diff != "" {
		t.Errorf("the query differs (-curl +Parse):\n%s", diff)
	}
	for _, header := range command.Headers {
		name := header.Name
		if got := received.Header.Get(name); got != header.Value {
			t.Errorf("the header %s is %q, curl sends %q", name, header.Value, got)
		}
	}
	if strings.Contains(received.Header.Get("X-Removed"), "x") || command.Header("X-Removed") != "" {
		t.Error("the header X-Removed is not removed")
	}
	if user := command.User; user != nil {
		got := "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Name+":"+user.Password))
		if want := received.Header.Get("Authorization"); got != want {
			t.Errorf("the user is %q, curl sends %q", got, want)
		}
	}
	compareBody(t, command.Body, received.Header.Get("Content-Type"), body)
}

func compareBody(t *testing.T, parsed curlcommand.Body, contentType, body string) {
	t.Helper()
	switch parsed.Format {
	case curlcommand.NoBody:
		if body != "" {
			t.Errorf("there is no body, curl sends %q", body)
		}
	case curlcommand.FormBody:
		want, err := url.ParseQuery(body)
		if diff := cmp.Diff(want, values(parsed.Form)); diff != "" || err != nil || contentType != "application/x-www-form-urlencoded" {
			t.Errorf("the body differs (-curl +Parse), %v, %s:\n%s", err, contentType, diff)
		}
	case curlcommand.JSONBody:
		var want map[string]any
		if err := json.Unmarshal([]byte(body), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, parsed.JSON); diff != "" {
			t.Errorf("the body differs (-curl +Parse):\n%s", diff)
		}
	case curlcommand.MultipartBody:
		for _, pair := range parsed.Form {
			if !strings.Contains(body, `name="`+pair.Name+"\"\r\n\r\n"+pair.Value+"\r\n") {
				t.Errorf("curl sends no %s=%s, but %s", pair.Name, pair.Value, body)
			}
		}
	case curlcommand.OtherBody:
		t.Errorf("the body is not understood: %s", body)
	}
}

func values(pairs []curlcommand.Pair) url.Values {
	all := url.Values{}
	for _, pair := range pairs {
		all.Add(pair.Name, pair.Value)
	}
	return all
}

func TestUnknownTexts(t *testing.T) {
	commands, err := curlcommand.Parse(`TOKEN=x
$ curl.exe -u "$USER_NAME" -H "X-A: ${KEY}" -H "X-B: $(curl https://other.test)` + "`id`" + `" example.com/v1 | jq .`)
	if err != nil {
		t.Fatal(err)
	}
	c := commands[0]
	want := []curlcommand.Pair{{Name: "X-A", Value: "$KEY"}, {Name: "X-B", Value: curlcommand.Unknown + curlcommand.Unknown}}
	if diff := cmp.Diff(want, c.Headers); diff != "" {
		t.Error(diff)
	}
	if len(commands) != 1 || !c.NoScheme || c.URL.String() != "https://example.com/v1" || *c.User != (curlcommand.User{Name: "$USER_NAME", Password: curlcommand.Unknown}) {
		t.Errorf("%d commands, %+v, %+v", len(commands), c, c.User)
	}
}
