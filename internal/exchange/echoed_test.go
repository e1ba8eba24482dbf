package exchange_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// The answers to both requests of the method have a member access_token, with different values.
const echoedDefinition = `
id: p
display_name: P
allowed_hosts: [HOST]
auth_methods:
  - id: m
    display_name: M
    fields:
      - {id: client_id, display_name: I, required: true, secret: false}
      - {id: client_secret, display_name: S, required: true, secret: true}
    token_request:
      url: ${login.url}/token/${sha256(client_secret)}
      body: FORM
      client_authentication: BASIC_UNENCODED
      headers: [{name: X-Session, value: "${base64('s:' + login.session)}"}]
      first: [{id: login, url: "http://HOST/login", body: NONE, values: {session: access_token, url: url}}]
    headers: [{name: X-Token, value: "${token}"}]
    verification: {url: "http://HOST/me", answers: [{statuses: [200], json: {}, outcome: ACCEPTED}]}
`

const (
	clientSecret = `o?o?o?o?/="x&y`
	firstToken   = "lo-gin"
	secondToken  = "to-ken"
)

// echoingServer answers with what it received, in a form that a test selects.
func echoingServer(t *testing.T, form func(text string) string) *httptest.Server {
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]any{"access_token": secondToken}
		switch r.URL.Path {
		case "/login":
			answer = map[string]any{"access_token": firstToken, "url": server.URL}
		case "/me":
			_, _ = io.WriteString(w, form(r.Header.Get("X-Token")+" "+clientSecret))
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	return server
}

func echoedCredential(t *testing.T, server *httptest.Server) *credentials.Credential {
	t.Helper()
	host := strings.TrimPrefix(server.URL, "http://")
	document := yamlfile.Parse("p.yaml", []byte(strings.ReplaceAll(echoedDefinition, "HOST", host)))
	provider := catalog.Define(document.Root())
	if err := document.Err(); err != nil {
		t.Fatal(err)
	}
	credential := &credentials.Credential{
		Provider: provider, Method: provider.AuthMethods[0], AllowedHosts: []string{host},
		Values: map[string]secret.Text{"client_id": secret.New("i"), "client_secret": secret.New(clientSecret)},
	}
	if problems := strategies.Check(credential); problems != nil {
		t.Fatal(problems)
	}
	return credential
}

func percent(text string) string {
	var out strings.Builder
	for _, b := range []byte(text) {
		fmt.Fprintf(&out, "%%%02x", b)
	}
	return out.String()
}

// TestEchoes checks that secrets are hidden in answers that repeat them in another encoding.
func TestEchoes(t *testing.T) {
	basic := base64.StdEncoding.EncodeToString([]byte("i:" + clientSecret))
	for name, form := range map[string]func(string) string{
		"percent": percent,
		"HTML":    func(text string) string { return "<p>" + strings.ReplaceAll(text, `"`, "&#x22;") },
		"JSON of PHP, cut off": func(text string) string {
			return `{"error":"` + strings.NewReplacer("/", `\/`, "o", `\u006f`, `"`, `\"`).Replace(text)
		},
		"Basic": func(string) string { return `{"error":"bad header Basic ` + basic + `"}` },
		"nested": func(string) string {
			return `{"token":{"value":"sh0rt","status":{"x":"sh0rt"}},"api_keys":["sh0rt",71480935],"session_key":71480935,"secrets":{"x":71480935}}`
		},
	} {
		t.Run(name, func(t *testing.T) {
			text := try(t, echoedCredential(t, echoingServer(t, form)))
			hidden := []string{
				"o?o", `="x`, "x&y", "%3f", firstToken, secondToken, base64.StdEncoding.EncodeToString([]byte("s:" + firstToken)),
				basic[:12], basic[len(basic)-8:], percent("x&y"), `\/`, "sh0rt", "71480935", fmt.Sprintf("%x", sha256.Sum256([]byte(clientSecret))),
			}
			for _, value := range hidden {
				if strings.Contains(text, value) {
					t.Errorf("the output contains %q", value)
				}
			}
			if !strings.Contains(text, "/login") || !strings.Contains(text, "/me") {
				t.Error("the output lacks a request")
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}

// TestShownMembers checks that members which never contain a secret are shown, also inside a member
// whose name is that of a secret.
func TestShownMembers(t *testing.T) {
	text := try(t, echoedCredential(t, echoingServer(t, func(string) string {
		return `{"token":{"value":"sh0rt","expires_in":3600,"token_type":"bearer"},"total_tokens":120,"usage":{"max_tokens":8192}}`
	})))
	const want = `{"token":{"expires_in":3600,"token_type":"bearer","value":"[REDACTED]"},"total_tokens":120,"usage":{"max_tokens":8192}}`
	if !strings.Contains(text, want) {
		t.Errorf("the output does not contain %s:\n%s", want, text)
	}
}
