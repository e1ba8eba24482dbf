package exchange_test

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/exchange"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/strategies"
	"github.com/authmaterial/broker/internal/verification"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// The secrets of the test, in the definition, and in the answers of the provider.
var secrets = map[string]string{
	"api_key": `k3y"<&>+/=%41\s3cr3t`, "password": "p4ss w0rd&x=y", "account_json": `{"key":{"id":"n3sted-in-json"}}`,
	"client_id": "cl13nt", "client_secret": "cl13nt-s3cr3t",
}

const (
	login     = "l0gin-s3ssion"
	issued    = "t0k3n-short"
	account   = "acc0unt-value"
	successor = "r3fresh"
)

const definition = `
id: p
display_name: P
allowed_hosts: [HOST]
auth_methods:
  - id: static
    display_name: Static
    fields: FIELDS
    headers:
      - {name: Authorization, value: "Basic ${base64(user + ':' + password)}"}
      - {name: X-Key, value: "${api_key}"}
      - {name: X-Digest, value: "${sha256(api_key)}"}
      - {name: X-Upper, value: "${upper(api_key)}"}
      - {name: X-Member, value: "${json(account_json, 'key.id')}"}
    query_params: [{name: key, value: "${api_key}"}, {name: user, value: "${user}"}]
    verification: VERIFICATION
  - id: token
    display_name: Token
    fields: FIELDS
    token_request:
      url: http://HOST/token/${api_key}/${base64(user + password)}
      body: BODY
      client_authentication: NONE
      grant_type: ""
      headers: [{name: X-Session, value: "${lower(login.session)}"}]
      parameters: {user: "${user}", secret: "${password}", key: "${api_key}", session: "${login.session}", twice: "${base64(login.session + api_key)}", member: "${json(account_json, 'key.id')}"}
      first: [{id: login, url: "http://HOST/login", body: FORM, parameters: {password: "${password}"}, values: {session: {cookie: sid}}}]
      response: {token: data.value, values: {account: data.account}}
    headers:
      - {name: Authorization, value: "Custom ${sha256(token)}"}
      - {name: X-Account, value: "${response.account}"}
      - {name: X-Token, value: "${token}"}
    verification: VERIFICATION
  - id: client
    display_name: Client
    fields: CLIENT
    token_request: {url: "http://HOST/token", body: BODY, client_authentication: BASIC, parameters: {key: "${api_key}"}, response: {token: data.value}}
    headers: [{name: X-Token, value: "${token}"}]
    query_params: [{name: u, value: "${user}"}, {name: p, value: "${password}"}, {name: j, value: "${json(account_json, 'key.id')}"}]
    verification: VERIFICATION
`

func define(t *testing.T, server *httptest.Server, method, body string) *credentials.Credential {
	t.Helper()
	text := strings.NewReplacer(
		"HOST", strings.TrimPrefix(server.URL, "http://"), "BODY", body,
		"FIELDS", `[{id: user, display_name: U, required: true, secret: false}, {id: password, display_name: P, required: true, secret: true}, `+
			`{id: api_key, display_name: K, required: true}, {id: account_json, display_name: J, required: true, secret: true}]`,
		"CLIENT", `[{id: user, display_name: U, required: true, secret: false}, {id: password, display_name: P, required: true, secret: true}, `+
			`{id: api_key, display_name: K, required: true}, {id: account_json, display_name: J, required: true, secret: true}, `+
			`{id: client_id, display_name: I, required: true}, {id: client_secret, display_name: S, required: true}]`,
		"VERIFICATION", "{url: "+server.URL+"/me, answers: [{statuses: [200], json: {}, outcome: ACCEPTED}]}",
	).Replace(definition)
	document := yamlfile.Parse("p.yaml", []byte(text))
	provider := catalog.Define(document.Root())
	if err := document.Err(); err != nil {
		t.Fatal(err)
	}
	credential := &credentials.Credential{
		Provider: provider, Method: provider.AuthMethod(method), AllowedHosts: []string{strings.TrimPrefix(server.URL, "http://")},
		Values: map[string]secret.Text{"user": secret.New("visible-user")},
	}
	for field, value := range secrets {
		credential.Values[field] = secret.New(value)
	}
	if problems := strategies.Check(credential); problems != nil {
		t.Fatal(problems)
	}
	return credential
}

// echo is a provider that answers with everything that it received, in several encodings.
func echo(format string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		everything := fmt.Sprintf("%s %s %v", r.URL, body, r.Header)
		http.SetCookie(w, &http.Cookie{Name: "sid", Value: login})
		w.Header().Set("Location", "https://other.test/?next="+r.URL.String())
		data := map[string]any{"value": issued, "account": account, "unexpected": successor, "refresh_token": successor}
		answer := map[string]any{"error_description": everything, "list": []any{everything}, everything: true, "visible": "a text", "jwt": "x"}
		if strings.HasPrefix(r.URL.Path, "/token") {
			answer["data"] = data
		}
		text, _ := json.Marshal(answer)
		switch {
		case format == "escaped JSON":
			_, _ = w.Write([]byte(strings.NewReplacer("s3", `\u0073\u0033`, "k3", `\u006b3`, "p4", `\u00704`).Replace(string(text))))
		case format == "HTML" && r.URL.Path == "/me":
			_, _ = io.WriteString(w, "<html>"+html.EscapeString(everything)+"</html>")
		default:
			_, _ = w.Write(text)
		}
	})
}

func TestNothingSecretIsPrinted(t *testing.T) {
	for _, format := range []string{"JSON", "escaped JSON", "HTML"} {
		for _, kind := range [][2]string{{"static", "FORM"}, {"token", "FORM"}, {"token", "JSON"}, {"token", "QUERY"}, {"client", "FORM"}} {
			t.Run(format+" "+kind[0]+" "+kind[1], func(t *testing.T) {
				server := httptest.NewServer(echo(format))
				defer server.Close()
				credential := define(t, server, kind[0], kind[1])
				text := try(t, credential)
				for _, want := range []string{"visible-user", "[api_key]", "/me", "HTTP 200", "Location: "} {
					if !strings.Contains(text, want) {
						t.Errorf("the output does not contain %q", want)
					}
				}
				hidden := []string{"n3sted-in-json", strings.ToUpper(secrets["api_key"]), "s3cr3t", "k3y", "p4ss", "w0rd", "Y2wxM250"}
				if kind[0] != "static" {
					hidden = append(hidden, login, issued, account, successor)
				}
				for _, value := range hidden {
					if strings.Contains(text, value) {
						t.Errorf("the output contains %q", value)
					}
				}
				if t.Failed() {
					t.Log(text)
				}
			})
		}
	}
}

func try(t *testing.T, credential *credentials.Credential) string {
	t.Helper()
	recorder := exchange.NewRecorder(egress.NewTransport(egress.Options{}))
	verifier := verification.New(verification.Options{Transport: recorder})
	if _, err := verifier.Verify(t.Context(), credential, nil); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	exchanges := recorder.Exchanges()
	printer := exchange.Printer{Line: func(line string) { out.WriteString(line + "\n") }, Mask: exchange.Secrets(credential, exchanges)}
	for i, e := range exchanges {
		printer.Print(e, i+1 < len(exchanges))
	}
	return out.String()
}
