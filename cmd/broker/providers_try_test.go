package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// triedDefinition is a definition whose token request needs a sign-in first.
const triedDefinition = `
id: acme
display_name: Acme
allowed_hosts: [HOST]
auth_methods:
  - id: login
    display_name: Login
    fields:
      - {id: user, display_name: U, required: true, secret: false}
      - {id: password, display_name: P, required: true, secret: true}
    token_request:
      url: http://HOST/token
      body: JSON
      client_authentication: NONE
      grant_type: ""
      parameters: {session: "${login.session}"}
      first: [{id: login, url: "http://HOST/login", body: FORM, parameters: {user: "${user}", password: "${password}"}, values: {session: sid}}]
      response: RESPONSE
    headers: [{name: X-Token, value: "${token}"}]
  - id: refresh
    display_name: Refresh
    fields: [{id: refresh_token, display_name: R, required: true, secret: true}]
    token_request:
      url: http://HOST/token
      body: FORM
      client_authentication: NONE
      grant_type: refresh_token
      parameters: {refresh_token: "${refresh_token}"}
      response: {refresh_token: refresh_token}
    headers: [{name: X-Token, value: "${token}"}]
  - id: signed
    display_name: Signed
    fields: [{id: key, display_name: K, required: true, secret: true}]
    jwt: {algorithm: ES256, key: "${key}", lifetime: 2m, header: {kid: k1}, claims: {iss: me, secret: "${sha256(key)}"}}
    headers: [{name: Authorization, value: "Bearer ${jwt}"}]
    verification: {url: "http://HOST/me", answers: [{statuses: [403], outcome: REFUSED}]}
  - id: described
    display_name: Described
    fields: [{id: key, display_name: K, required: true, secret: true}]
    headers: [{name: X-Key, value: "${key}"}]
    rejected_when: [{statuses: [403], headers: {X-Reason: expired}}]
    verification: {url: "http://HOST/me", answers: [{statuses: [403], outcome: REFUSED}]}
  - id: unsent
    display_name: Unsent
    fields: [{id: key, display_name: K, required: true, secret: true}]
    jwt: {algorithm: ES256, key: "${key}", lifetime: 2m, header: {kid: k1}, claims: {iss: me, secret: "${sha256(key)}"}}
    headers: [{name: Authorization, value: "Bearer ${jwt}"}]
`

// tryDefinition tries the definition at a provider that gives the answer to the token request.
func tryDefinition(t *testing.T, response, status, answer string, args ...string) (output string, code int) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/login":
			_, _ = io.WriteString(w, `{"sid": "s3ssion-1"}`)
		case r.URL.Path == "/me":
			w.Header().Set("X-Reason", "expired")
			w.WriteHeader(http.StatusForbidden)
		case status != "":
			w.WriteHeader(http.StatusBadRequest)
			fallthrough
		default:
			w.Header().Set("X-Subject-Token", "t0k3n")
			w.Header().Set("X-State", "active")
			_, _ = io.WriteString(w, answer)
		}
	}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "acme.yaml")
	text := strings.NewReplacer("HOST", strings.TrimPrefix(server.URL, "http://"), "RESPONSE", response).Replace(triedDefinition)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ACME_PASSWORD", "p4ssw0rd")
	stdout, stderr, code := invoke(t, append([]string{"providers", "try", path}, args...)...)
	return stdout + stderr, code
}

func TestTryExplainsTokenAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		response, status, answer string
		want                     []string
		refused                  bool
	}{
		"values": {
			response: "{token: data.0.t, expires_at: data.0.until, values: {account: acc}}",
			answer:   `{"data": [{"t": "t0k3n", "until": "2099-01-01T00:00:00Z"}], "acc": "a-1"}`,
			want: []string{
				`^1\. Request "login", before the token request$`, `^  password=\[password\]&user=jo$`,
				`^2\. Token request$`, `^  \{"session":"\[REDACTED\]"\}$`, `^  token +found at data\.0\.t$`, `^  lifetime +168h0m0s, from the time at data\.0\.until$`,
				`no call of the API was made`,
			},
		},
		"a token in a header": {
			response: "{token: {header: X-Subject-Token}, refused: [{headers: {X-State: ended}}]}", answer: `{}`,
			want: []string{`^  X-State: active$`, `^  X-Subject-Token: \[REDACTED\]$`, `^  token +found at header X-Subject-Token$`},
		},
		"no lifetime": {
			response: "{token: BODY}", answer: "t0k3n",
			want: []string{`^  \(5 bytes, which are not JSON and may contain a token\)$`, `^  token +found at body$`, `^  lifetime +1h0m0s, the default_lifetime`},
		},
		"a token in another place": {
			response: "{}", answer: `{"result": {"bearer": "t0k3n", "user": "u"}, "token_type": "x"}`,
			want:    []string{`^  \{"result":\{"bearer":"\[REDACTED\]","user":"\[REDACTED\]"\},"token_type":"x"\}$`, `no access_token`, `does not count as a refusal`},
			refused: true,
		},
		"a condition": {
			response: "{refused: [{json: {ok: true}}, {json: {ok: false}}]}", answer: `{"ok": false}`,
			want: []string{`Acme refused the credential`, `matches item 2 of\s+response\.refused`}, refused: true,
		},
		"an OAuth error": {
			response: "{}", status: "400", answer: `{"error": "invalid_grant"}`, want: []string{`because of the OAuth error code\s+invalid_grant`}, refused: true,
		},
		"a status": {response: "{}", status: "400", answer: `{"error": "other"}`, want: []string{`because of the status with a JSON object`}, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			output, code := tryDefinition(t, test.response, test.status, test.answer,
				"--auth-method", "login", "--value", "user=jo", "--secret-env", "password=ACME_PASSWORD")
			if (code == exitProblem) != test.refused {
				t.Errorf("the exit code is %d", code)
			}
			for _, want := range test.want {
				if !regexp.MustCompile("(?m)" + want).MatchString(output) {
					t.Errorf("the output does not match %q", want)
				}
			}
			for _, secret := range []string{"p4ssw0rd", "s3ssion-1", "t0k3n", "a-1"} {
				if strings.Contains(output, secret) {
					t.Errorf("the output contains %q", secret)
				}
			}
			if t.Failed() {
				t.Log(output)
			}
		})
	}
}

func TestTryRefreshToken(t *testing.T) {
	next := filepath.Join(t.TempDir(), "next")
	const answer = `{"access_token": "t0k3n", "refresh_token": "n3xt-one"}`
	args := []string{"--auth-method", "refresh", "--secret-env", "refresh_token=ACME_PASSWORD"}
	if output, code := tryDefinition(t, "{}", "", answer, args...); code != exitUsage || !strings.Contains(output, "name a file for the next one with --refresh-token-file FILE") {
		t.Errorf("without the flag, the exit code is %d, and the output is\n%s", code, output)
	}
	args = append(args, "--refresh-token-file", next)
	if output, code := tryDefinition(t, "{}", "400", `{"error": "invalid_grant"}`, args...); code != exitProblem || !strings.Contains(output, "invalid_grant") {
		t.Errorf("for a refused refresh token, the exit code is %d, and the output is\n%s", code, output)
	}
	if _, err := os.Stat(next); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file without a refresh token is still there: %v", err)
	}
	output, code := tryDefinition(t, "{}", "", answer, args...)
	if code != exitOK || !strings.Contains(output, "has the next refresh token") || strings.Contains(output, "t0k3n") || strings.Contains(output, "n3xt-one") {
		t.Errorf("the exit code is %d, and the output is\n%s", code, output)
	}
	if text, err := os.ReadFile(next); err != nil || string(text) != "n3xt-one\n" {
		t.Errorf("the file has %q (%v)", text, err)
	}
	if output, code := tryDefinition(t, "{}", "", answer, args...); code != exitProblem || !strings.Contains(output, "exists, and is not overwritten") || strings.Contains(output, "Token request") {
		t.Errorf("for an existing file, the exit code is %d, and the output is\n%s", code, output)
	}
}

func TestTrySignedToken(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	for method, test := range map[string]struct {
		code int
		want []string
	}{
		"signed": {exitProblem, []string{"Authorization: Bearer [JWT]", "HTTP 403", "refused: Acme refused the token that the broker signed (HTTP 403)", "HTTP 403 is none of rejected_statuses"}},
		"unsent": {exitOK, []string{"no call of the API was made"}},
	} {
		output, code := tryDefinition(t, "{}", "", "", "--auth-method", method, "--secret-file", "key="+file)
		for _, want := range append(test.want, `  JWT header: {"alg":"ES256","kid":"k1","typ":"JWT"}`, `"iss":"me"`, `"secret":"[REDACTED]"`, "signs itself. Its lifetime is 2m0s") {
			if !strings.Contains(output, want) || code != test.code {
				t.Errorf("%s: the exit code is %d, and the output does not contain %q:\n%s", method, code, want, output)
			}
		}
		if strings.Contains(output, "eyJ") {
			t.Errorf("%s: the output contains the JWT:\n%s", method, output)
		}
	}
}

func TestTryDescribedRejection(t *testing.T) {
	output, code := tryDefinition(t, "{}", "", "", "--auth-method", "described", "--secret-env", "key=ACME_PASSWORD")
	if code != exitProblem || !strings.Contains(output, "refused: ") || strings.Contains(output, "none of rejected_statuses") {
		t.Errorf("the exit code is %d, and the output is\n%s", code, output)
	}
}
