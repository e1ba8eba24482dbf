package draft_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/internal/strategies"
)

// tokenExample is a curl command with a token request, and what the broker must send.
type tokenExample struct {
	command       string
	url           string
	authorization string
	parameters    map[string]string
	json          bool
	calls         []string // what a call with the token "t0k3n" has
}

var tokenExamples = map[string]tokenExample{
	"paypal": {
		command: `curl -v -X POST "https://api-m.sandbox.paypal.com/v1/oauth2/token" \
  -u "AZb_client:EK_s3cret" \
  -H "Content-Type: application/x-www-form-urlencoded" \
  -d "grant_type=client_credentials"`,
		url: "https://api-m.sandbox.paypal.com/v1/oauth2/token", authorization: "Basic QVpiX2NsaWVudDpFS19zM2NyZXQ=",
		parameters: map[string]string{"grant_type": "client_credentials"}, calls: []string{"Authorization: Bearer t0k3n"},
	},
	"auth0": {
		command: `curl --request POST --url 'https://acme.eu.auth0.com/oauth/token' --header 'content-type: application/json' \
  --data '{"client_id":"cid1","client_secret":"cs2","audience":"https://acme.eu.auth0.com/api/v2/","grant_type":"client_credentials"}'`,
		url: "https://acme.eu.auth0.com/oauth/token", json: true,
		parameters: map[string]string{
			"client_id": "cid1", "client_secret": "cs2", "audience": "https://acme.eu.auth0.com/api/v2/", "grant_type": "client_credentials",
		},
		calls: []string{"Authorization: Bearer t0k3n"},
	},
	"entra": {
		command: `curl -X POST -H "Content-Type: application/x-www-form-urlencoded" -d 'client_id=535fb089&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default&client_secret=qWg%7EdYAmab0Y&grant_type=client_credentials' 'https://login.microsoftonline.com/common/oauth2/v2.0/token'`,
		url:     "https://login.microsoftonline.com/common/oauth2/v2.0/token",
		parameters: map[string]string{
			"client_id": "535fb089", "client_secret": "qWg~dYAmab0Y", "scope": "https://graph.microsoft.com/.default", "grant_type": "client_credentials",
		},
		calls: []string{"Authorization: Bearer t0k3n"},
	},
	"spotify": {
		command: `curl -X POST "https://accounts.spotify.com/api/token" -H "Authorization: Basic Y2lkOmNz" -d "grant_type=client_credentials"`,
		url:     "https://accounts.spotify.com/api/token", authorization: "Basic Y2lkOmNz",
		parameters: map[string]string{"grant_type": "client_credentials"}, calls: []string{"Authorization: Bearer t0k3n"},
	},
	"sendpulse, and a call": {
		command: `curl -X POST https://api.sendpulse.com/oauth/access_token -d 'grant_type=client_credentials&client_id=c1&client_secret=s1x9'
curl https://api.sendpulse.com/addressbooks -H 'Authorization: Bearer eyJhbGciOi'`,
		url:        "https://api.sendpulse.com/oauth/access_token",
		parameters: map[string]string{"grant_type": "client_credentials", "client_id": "c1", "client_secret": "s1x9"},
		calls:      []string{"Authorization: Bearer t0k3n"},
	},
	"a token in a header of its own, and a key": {
		command: `curl https://api.example.com/me -H 'X-Api-Key: k1x' -H 'X-Access-Token: abc'; curl -d grant_type=client_credentials -d scope='read write' -u c0:s9z https://auth.example.com/token`,
		url:     "https://auth.example.com/token", authorization: "Basic YzA6czl6",
		parameters: map[string]string{"grant_type": "client_credentials", "scope": "read write"},
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

func (s *sent) parameters(t *testing.T, isJSON bool) map[string]string {
	t.Helper()
	parameters := map[string]string{}
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
		parameters[name] = form.Get(name)
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
			if diff := cmp.Diff(example.parameters, provider.parameters(t, example.json)); diff != "" {
				t.Errorf("the command and the token request differ (-command +request):\n%s", diff)
			}
			if diff := cmp.Diff(example.calls, decoration(t, credential, issued.Value.Reveal())); diff != "" {
				t.Errorf("the calls differ (-want +got):\n%s", diff)
			}
		})
	}
}
