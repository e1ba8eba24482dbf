package draft_test

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/internal/strategies"
)

// tokenExample is a curl command with a token request, and what the broker must send.
type tokenExample struct {
	command       string
	url           string
	authorization string
	method        string // empty for POST
	headers       map[string]string
	parameters    map[string]any
	json          bool
	claims        map[string]any // of the JWT that stands for the text JWT in the parameters
	calls         []string       // what a call with the token "t0k3n" has
}

var tokenExamples = map[string]tokenExample{
	"paypal": {
		command: `curl -v -X POST "https://api-m.sandbox.paypal.com/v1/oauth2/token" \
  -u "AZb_client:EK_s3cret" \
  -H "Content-Type: application/x-www-form-urlencoded" \
  -d "grant_type=client_credentials"`,
		url: "https://api-m.sandbox.paypal.com/v1/oauth2/token", authorization: "Basic QVpiX2NsaWVudDpFS19zM2NyZXQ=",
		parameters: map[string]any{"grant_type": "client_credentials"}, calls: []string{"Authorization: Bearer t0k3n"},
	},
	"auth0": {
		command: `curl --request POST --url 'https://acme.eu.auth0.com/oauth/token' --header 'content-type: application/json' \
  --data '{"client_id":"cid1","client_secret":"cs2","audience":"https://acme.eu.auth0.com/api/v2/","grant_type":"client_credentials"}'`,
		url: "https://acme.eu.auth0.com/oauth/token", json: true,
		parameters: map[string]any{
			"client_id": "cid1", "client_secret": "cs2", "audience": "https://acme.eu.auth0.com/api/v2/", "grant_type": "client_credentials",
		},
		calls: []string{"Authorization: Bearer t0k3n"},
	},
	"entra": {
		command: `curl -X POST -H "Content-Type: application/x-www-form-urlencoded" -d 'client_id=535fb089&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default&client_secret=qWg%7EdYAmab0Y&grant_type=client_credentials' 'https://login.microsoftonline.com/common/oauth2/v2.0/token'`,
		url:     "https://login.microsoftonline.com/common/oauth2/v2.0/token",
		parameters: map[string]any{
			"client_id": "535fb089", "client_secret": "qWg~dYAmab0Y", "scope": "https://graph.microsoft.com/.default", "grant_type": "client_credentials",
		},
		calls: []string{"Authorization: Bearer t0k3n"},
	},
	"spotify": {
		command: `curl -X POST "https://accounts.spotify.com/api/token" -H "Authorization: Basic Y2lkOmNz" -d "grant_type=client_credentials"`,
		url:     "https://accounts.spotify.com/api/token", authorization: "Basic Y2lkOmNz",
		parameters: map[string]any{"grant_type": "client_credentials"}, calls: []string{"Authorization: Bearer t0k3n"},
	},
	"sendpulse, and a call": {
		command: `curl -X POST https://api.sendpulse.com/oauth/access_token -d 'grant_type=client_credentials&client_id=c1&client_secret=s1x9'
curl https://api.sendpulse.com/addressbooks -H 'Authorization: Bearer eyJhbGciOi'`,
		url:        "https://api.sendpulse.com/oauth/access_token",
		parameters: map[string]any{"grant_type": "client_credentials", "client_id": "c1", "client_secret": "s1x9"},
		calls:      []string{"Authorization: Bearer t0k3n"},
	},
	"zoom": {
		command: `curl -X POST https://zoom.us/oauth/token -d 'grant_type=account_credentials' -d 'account_id=nf8dsaIUUk' --header 'Authorization: Basic Q2xpZW50X0lEOkNsaWVudF9TZWNyZXQ='`,
		url:     "https://zoom.us/oauth/token", authorization: "Basic Q2xpZW50X0lEOkNsaWVudF9TZWNyZXQ=",
		parameters: map[string]any{"grant_type": "account_credentials", "account_id": "nf8dsaIUUk"},
		calls:      []string{"Authorization: Bearer t0k3n"},
	},
	"zoom, in the query": {
		command: `curl -u Client_ID:Client_Secret -X POST 'https://zoom.us/oauth/token?grant_type=account_credentials&account_id=nf8dsaIUUk'`,
		url:     "https://zoom.us/oauth/token?account_id=nf8dsaIUUk&grant_type=account_credentials", authorization: "Basic Q2xpZW50X0lEOkNsaWVudF9TZWNyZXQ=",
		parameters: map[string]any{}, calls: []string{"Authorization: Bearer t0k3n"},
	},
	"entra, of one tenant": {
		command: `curl -d 'client_id=535fb089-9ff3-47b6-9bfb-4f1264799865&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default&client_secret=qWg&grant_type=client_credentials' 'https://login.microsoftonline.com/6731de76-14a6-49ae-97bc-6eba6914391e/oauth2/v2.0/token'
curl -H 'Authorization: Bearer eyJ0' https://graph.microsoft.com/v1.0/organization`,
		url: "https://login.microsoftonline.com/6731de76-14a6-49ae-97bc-6eba6914391e/oauth2/v2.0/token",
		parameters: map[string]any{
			"client_id": "535fb089-9ff3-47b6-9bfb-4f1264799865", "client_secret": "qWg", "scope": "https://graph.microsoft.com/.default", "grant_type": "client_credentials",
		},
		calls: []string{"Authorization: Bearer t0k3n"},
	},
	"a secret that Basic authentication would encode": {
		command: `curl -u 'c0:s9+/=z' -d grant_type=client_credentials https://auth.example.com/token`,
		url:     "https://auth.example.com/token", authorization: "Basic YzA6czkrLz16",
		parameters: map[string]any{"grant_type": "client_credentials"}, calls: []string{"Authorization: Bearer t0k3n"},
	},
	"wechat": {
		command: `curl 'https://api.weixin.qq.com/cgi-bin/token?grant_type=client_credential&appid=wx7b1&secret=0f4d2'`,
		method:  http.MethodGet, url: "https://api.weixin.qq.com/cgi-bin/token?appid=wx7b1&grant_type=client_credential&secret=0f4d2",
		parameters: map[string]any{}, calls: []string{"Authorization: Bearer t0k3n"},
	},
	"feishu": {
		command: `curl -X POST https://open.feishu.cn/open-apis/auth/v3/tenant_access_token/internal/token --json '{"app_id": "cli_a1", "app_secret": "Yd9", "site": {"id": 5, "names": ["n0ne"]}, "force": true}'`,
		url:     "https://open.feishu.cn/open-apis/auth/v3/tenant_access_token/internal/token", json: true,
		parameters: map[string]any{"app_id": "cli_a1", "app_secret": "Yd9", "site": map[string]any{"id": 5.0, "names": []any{"n0ne"}}, "force": true},
		calls:      []string{"Authorization: Bearer t0k3n"},
	},
	"a password, and a key in a header": {
		command: `curl https://api.example.com/v1/login -H 'X-Application-Id: app1' -d username=jo -d password=p4ss; curl -H 'X-Auth-Token: abc' https://api.example.com/v1/me`,
		url:     "https://api.example.com/v1/login", headers: map[string]string{"X-Application-Id": "app1"},
		parameters: map[string]any{"username": "jo", "password": "p4ss"}, calls: []string{"X-Auth-Token: t0k3n"},
	},
	"a refresh token": {
		command: `curl -X POST https://auth.example.com/token -d grant_type=refresh_token -d refresh_token=r3fr3sh -d client_id=c0`,
		url:     "https://auth.example.com/token", parameters: map[string]any{"grant_type": "refresh_token", "refresh_token": "r3fr3sh", "client_id": "c0"},
		calls: []string{"Authorization: Bearer t0k3n"},
	},
	"salesforce": {
		command:    `curl https://login.salesforce.com/services/oauth2/token -d grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer -d assertion=eyJhbGciOiJSUzI1NiIsImtpZCI6IjdrIn0.eyJpc3MiOiIzTVZHOTkiLCJzdWIiOiJqb0BleGFtcGxlLmNvbSIsImF1ZCI6Imh0dHBzOi8vbG9naW4uc2FsZXNmb3JjZS5jb20iLCJleHAiOjEzMzM2ODU2Mjh9.iYCthqWCQucwi35yFs`,
		url:        "https://login.salesforce.com/services/oauth2/token",
		parameters: map[string]any{"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "JWT"},
		claims:     map[string]any{"iss": "3MVG99", "sub": "jo@example.com", "aud": "https://login.salesforce.com"},
		calls:      []string{"Authorization: Bearer t0k3n"},
	},
	"private_key_jwt": {
		command: `curl https://acme.okta.com/oauth2/v1/token -d grant_type=client_credentials -d scope=okta.users.read -d client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer -d client_assertion=$JWT`,
		url:     "https://acme.okta.com/oauth2/v1/token",
		parameters: map[string]any{
			"grant_type": "client_credentials", "scope": "okta.users.read", "client_assertion": "JWT",
			"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
		},
		claims: map[string]any{"iss": "unknown", "sub": "unknown", "aud": "https://acme.okta.com/oauth2/v1/token"},
		calls:  []string{"Authorization: Bearer t0k3n"},
	},
	"a query beside the form": {
		command:    `curl 'https://auth.example.com/token?api-version=2&partner_key=pk3y' -d grant_type=client_credentials -d client_id=c0 -d client_secret=s9z`,
		url:        "https://auth.example.com/token?api-version=2&partner_key=pk3y",
		parameters: map[string]any{"grant_type": "client_credentials", "client_id": "c0", "client_secret": "s9z"},
		calls:      []string{"Authorization: Bearer t0k3n"},
	},
	"a code in the query": {
		command:    `curl 'https://auth.example.com/token?code=s3cr3tkey&scope=read+write' -d grant_type=client_credentials -d client_id=c0 -d client_secret=s9z`,
		url:        "https://auth.example.com/token?code=s3cr3tkey&scope=read+write",
		parameters: map[string]any{"grant_type": "client_credentials", "client_id": "c0", "client_secret": "s9z"},
		calls:      []string{"Authorization: Bearer t0k3n"},
	},
	"a key beside the client": {
		command: `curl -u c0:s9z -H 'X-Api-Key: k1x' -d grant_type=client_credentials https://auth.example.com/token`,
		url:     "https://auth.example.com/token", authorization: "Basic YzA6czl6", headers: map[string]string{"X-Api-Key": "k1x"},
		parameters: map[string]any{"grant_type": "client_credentials"}, calls: []string{"Authorization: Bearer t0k3n"},
	},
	"a header in place of the user": {
		command: `curl -u c0:s9z -H 'Authorization: Bearer b3arer' -d grant_type=client_credentials https://auth.example.com/token`,
		url:     "https://auth.example.com/token", authorization: "Bearer b3arer",
		parameters: map[string]any{"grant_type": "client_credentials"}, calls: []string{"Authorization: Bearer t0k3n"},
	},
	"a repeated parameter": {
		command:    `curl -d grant_type=client_credentials -d client_id=c0 -d client_secret=s9z -d resource=urn:a -d resource=urn:b https://auth.example.com/token`,
		url:        "https://auth.example.com/token",
		parameters: map[string]any{"grant_type": "client_credentials", "client_id": "c0", "client_secret": "s9z", "resource": "urn:a, urn:b"},
		calls:      []string{"Authorization: Bearer t0k3n"},
	},
	"a token in a variable": {
		command: `TOKEN=$(curl -s -d grant_type=client_credentials -d client_id=c0 -d client_secret=s9z https://auth.example.com/token | jq -r .access_token)
curl -H "X-Auth-Token: $TOKEN" https://api.example.com/v1/me`,
		url:        "https://auth.example.com/token",
		parameters: map[string]any{"grant_type": "client_credentials", "client_id": "c0", "client_secret": "s9z"},
		calls:      []string{"X-Auth-Token: t0k3n"},
	},
	"a number that is a secret": {
		command: `curl --json '{"user": "jo", "password": "p4ss", "pin": 1234}' https://api.example.com/v1/login`,
		url:     "https://api.example.com/v1/login", json: true,
		parameters: map[string]any{"user": "jo", "password": "p4ss", "pin": "unknown"}, calls: []string{"Authorization: Bearer t0k3n"},
	},
	"a token in a header of its own, and a key": {
		command: `curl https://api.example.com/me -H 'X-Api-Key: k1x' -H 'X-Access-Token: abc'; curl -d grant_type=client_credentials -d scope='read write' -u c0:s9z https://auth.example.com/token`,
		url:     "https://auth.example.com/token", authorization: "Basic YzA6czl6",
		parameters: map[string]any{"grant_type": "client_credentials", "scope": "read write"},
		calls:      []string{"X-Access-Token: t0k3n", "X-Api-Key: k1x"},
	},
}

// sent is a token request as the provider receives it.
type sent struct {
	request *http.Request
	body    string
}

func (s *sent) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	s.request, s.body = request, string(body)
	answer := io.NopCloser(strings.NewReader(`{"access_token":"t0k3n","expires_in":3600}`))
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: answer, Request: request}, err
}

func (s *sent) parameters(t *testing.T, isJSON bool) map[string]any {
	t.Helper()
	parameters := map[string]any{}
	if isJSON {
		if err := json.Unmarshal([]byte(s.body), &parameters); err != nil {
			t.Fatal(err)
		}
		return parameters
	}
	form, err := url.ParseQuery(s.body)
	if err != nil {
		t.Fatal(err)
	}
	for name := range maps.Keys(form) {
		parameters[name] = strings.Join(form[name], ", ")
	}
	return parameters
}

func TestTokenRequestsOfVendors(t *testing.T) {
	for name, example := range tokenExamples {
		t.Run(name, func(t *testing.T) {
			definition := fromCurl(t, example.command)
			checkSecrets(t, definition)
			credential := configure(t, definition)
			provider := &sent{}
			source, err := strategies.NewTokenSource(credential, strategies.NewTokenClient(strategies.TokenClientOptions{Transport: provider}))
			if err != nil {
				t.Fatal(err)
			}
			issued, err := source.RequestToken(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := provider.request.URL.String(); got != example.url {
				t.Errorf("the URL is %s, want %s", got, example.url)
			}
			if got := provider.request.Header.Get("Authorization"); got != example.authorization {
				t.Errorf("the header Authorization is %q, want %q", got, example.authorization)
			}
			if got, want := provider.request.Method, cmp.Or(example.method, http.MethodPost); got != want {
				t.Errorf("the method is %s, want %s", got, want)
			}
			for name, want := range example.headers {
				if got := provider.request.Header.Get(name); got != want {
					t.Errorf("the header %s is %q, want %q", name, got, want)
				}
			}
			parameters := provider.parameters(t, example.json)
			checkJWT(t, example.claims, parameters)
			if diff := gocmp.Diff(example.parameters, parameters); diff != "" {
				t.Errorf("the command and the token request differ (-command +request):\n%s", diff)
			}
			if diff := gocmp.Diff(example.calls, decoration(t, credential, issued.Value.Reveal())); diff != "" {
				t.Errorf("the calls differ (-want +got):\n%s", diff)
			}
		})
	}
}

// checkJWT compares the claims of the JWT among the parameters, and puts the text JWT in its place.
func checkJWT(t *testing.T, want map[string]any, parameters map[string]any) {
	t.Helper()
	for name, value := range parameters {
		text, _ := value.(string)
		parts := strings.Split(text, ".")
		if want == nil || len(parts) != 3 || !strings.HasPrefix(text, "eyJ") {
			continue
		}
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		claims := map[string]any{}
		if err != nil || json.Unmarshal(payload, &claims) != nil {
			t.Fatalf("the parameter %s is not a JWT", name)
		}
		for _, claim := range []string{"iat", "exp", "jti"} {
			delete(claims, claim)
		}
		if diff := gocmp.Diff(want, claims); diff != "" {
			t.Errorf("the claims of the command and of the request differ (-command +request):\n%s", diff)
		}
		parameters[name] = "JWT"
	}
}
