package brokertest_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/brokertest"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/fleetkeys"
	"github.com/authmaterial/broker/internal/yamlfile"
)

const (
	secretKey = "{id: key, display_name: Key, required: true, secret: true}"
	clientKey = "{id: client_id, display_name: ID, required: true, secret: false}, {id: client_secret, display_name: Secret, required: true, secret: true}"
	bearer    = `headers: [{name: Authorization, value: "Bearer ${token}"}]`
	verified  = `verification: {path: "/me?a=b", answers: [{statuses: [200], json: {user.id: {not: 0}}, outcome: ACCEPTED}, {statuses: [403], json: {errors.0.code: bad, ok: false}, headers: {x-reason: key}, outcome: REFUSED}]}`
)

// TestSimulationOfDefinitions checks that the simulator and the broker understand each part of a
// definition in the same way. Each definition is that of one auth method, without the keys id,
// display_name and fields.
func TestSimulationOfDefinitions(t *testing.T) {
	for name, test := range map[string]struct{ fields, method string }{
		"static": {
			"{id: region, display_name: Region, secret: false}, " + secretKey,
			`headers: [{name: X-Key, value: "${key}"}, {name: X-Region, value: "${region}"}, {name: X-Version, value: "2", only_if_absent: true}], query_params: [{name: k, value: "${sha256(key)}"}], ` + verified,
		},
		"a header that the caller may set": {
			"{id: agent, display_name: Agent, secret: false}, " + secretKey,
			`headers: [{name: X-Key, value: "${key}"}, {name: User-Agent, value: "${agent}", only_if_absent: true}]`,
		},
		"a status with a condition": {
			secretKey, `rejected_statuses: [], rejected_when: [{statuses: [200], json: {data.0.ok: false}}], headers: [{name: X-Key, value: "${key}"}]`,
		},
		"GET and QUERY": {
			clientKey, `token_request: {method: GET, url: "https://api.example.test/token?v=1", body: QUERY, client_authentication: REQUEST_BODY, parameters: {scope: [a, "b ${client_id}"]}}, ` + bearer,
		},
		"FORM and BASIC": {
			clientKey, `token_request: {url: "https://login.example.test/${client_id}/token", body: FORM, client_authentication: BASIC, previous_token: ENDED}, rejected_statuses: [403, 401], ` + bearer + ", " + verified,
		},
		"JSON and raw BASIC": {
			clientKey, `token_request: {method: PUT, url: "https://api.example.test/token", body: JSON, client_authentication: BASIC_UNENCODED, grant_type: "", parameters: {site: {id: 5, names: ["${client_id}", true, null, 1.50]}}}, ` + bearer,
		},
		"no parameters": {
			secretKey, `token_request: {url: "https://api.example.test/token", body: NONE, client_authentication: NONE, grant_type: "", headers: [{name: X-Key, value: "${key}"}], response: {token: BODY}}, ` + bearer,
		},
		"locations": {
			secretKey, `token_request: {url: "https://api.example.test/token", body: JSON, client_authentication: NONE, parameters: {key: "${key}"},
				response: {token: {cookie: session}, expires_at: data.0.until, values: {account: data.0.id, csrf: {header: x-csrf}}, refused: [{statuses: [200], json: {ok: false}}]}},
				headers: [{name: Cookie, value: "session=${token}"}, {name: X-Csrf, value: "${response.csrf}"}], query_params: [{name: account, value: "${response.account}"}]`,
		},
		"the time in the token": {
			secretKey, `token_request: {url: "https://api.example.test/token", body: FORM, client_authentication: NONE, parameters: {key: "${key}"}, response: {token: a.b\.c, expires_at: TOKEN}}, ` + bearer,
		},
		"milliseconds": {
			secretKey, `token_request: {url: "https://api.example.test/token", body: FORM, client_authentication: NONE, parameters: {key: "${key}"}, response: {lifetime: ttl, lifetime_unit: MILLISECONDS}, default_lifetime: 60s}, ` + bearer,
		},
		"earlier requests": {
			secretKey, `token_request: {url: "${login.url}/token/${next.id}", body: JSON, client_authentication: NONE, parameters: {session: "${login.session}"},
				first: [{id: login, url: "https://api.example.test/login", body: FORM, parameters: {key: "${key}"}, values: {url: urls.api, session: {header: x-session}}},
					{id: next, method: GET, url: "https://api.example.test/next", body: QUERY, parameters: {session: "${login.session}"}, values: {id: BODY}}]}, ` + bearer,
		},
		"a host from an answer": {
			secretKey, `token_request: {url: "https://${login.region}.example.com/token", body: JSON, client_authentication: NONE, parameters: {key: "${key}", session: "${login.session}"},
				first: [{id: login, url: "https://api.example.test/login", body: FORM, parameters: {key: "${key}"}, values: {region: region, session: session}}]}, ` + bearer,
		},
		"a token request at the URL of the verification": {
			secretKey, `token_request: {url: "https://api.example.test/me?a=b", body: FORM, client_authentication: NONE, parameters: {key: "${key}"}}, ` + bearer + ", " + verified,
		},
		"a JWT as client": {
			`{id: client_id, display_name: ID, required: true, secret: false}, ` + secretKey, `token_request: {url: "https://api.example.test/token", body: FORM, client_authentication: NONE, parameters: {client_assertion: "${jwt}"},
				jwt: {algorithm: ES384, key: "${key}", header: {kid: "${fingerprint(key)}"}, claims: {iss: "${client_id}", aud: ["https://api.example.test"]}, backdate: 10s}}, ` + bearer,
		},
		"a JWT in the URL": {
			secretKey, `token_request: {method: GET, url: "https://api.example.test/token/${jwt}/one?assertion=${jwt}", body: NONE, client_authentication: NONE, jwt: {algorithm: ES512, key: "${key}", claims: {}}}, ` + bearer,
		},
		"a JWT as the password": {
			secretKey, `token_request: {url: "https://api.example.test/token", body: NONE, client_authentication: NONE, headers: [{name: Authorization, value: "Basic ${base64('me:' + jwt)}"}],
				jwt: {algorithm: HS256, key: "${key}", key_encoding: BASE64, claims: {}}}, ` + bearer,
		},
		"a JSON key": {
			`{id: account, display_name: Account, required: true, secret: true}`, `token_request: {url: "https://api.example.test/token", body: FORM, client_authentication: NONE, grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", parameters: {assertion: "${jwt}"},
				jwt: {algorithm: RS256, key: "${json(account, 'private_key')}", claims: {iss: "${json(account, 'client.email')}"}}}, ` + bearer,
		},
		"a client certificate": {
			`{id: certificate, display_name: Certificate, required: true, secret: false}, ` + secretKey, `token_request: {url: "https://api.example.test/token", body: JSON, client_authentication: NONE, parameters: {x5t: "${thumbprint(certificate)}"},
				client_certificate: {certificate: "${certificate}", private_key: "${key}"}}, ` + bearer + ", " + verified,
		},
		"an own JWT":    {secretKey, `jwt: {algorithm: EdDSA, key: "${key}", claims: {sub: a, n: 1}}, headers: [{name: X-Token, value: "${jwt}"}], ` + verified},
		"a shared JWT":  {secretKey, `jwt: {algorithm: HS256, key: "${key}", key_encoding: HEX, lifetime: 1h, header: {typ: at+jwt}, claims: {sub: a}}, query_params: [{name: jwt, value: "${jwt}"}]`},
		"a PS256 token": {secretKey, `jwt: {algorithm: PS256, key: "${key}", claims: {}}, headers: [{name: Authorization, value: "Bearer ${jwt}"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			text := `{id: example, display_name: Example, allowed_hosts: [api.example.test], auth_methods: [{id: main, display_name: Main, fields: [` + test.fields + "],\n" + test.method + "}]}"
			newSimulated(t, text).checkLife()
		})
	}
}

func newSimulated(t *testing.T, definition string, options ...brokertest.Option) simulated {
	t.Helper()
	document := yamlfile.Parse("definition", []byte(definition))
	method := catalog.Define(document.Root()).AuthMethods[0]
	options = append([]brokertest.Option{brokertest.WithTLS(), brokertest.WithConfig(managing), brokertest.WithProvider(definition),
		brokertest.WithCredentials(brokertest.Credential{ID: "mine", Provider: "example", AuthMethod: method.ID, Simulated: true})}, options...)
	h := newHarness(t, options...)
	return simulated{harness: h, id: "mine", method: method, account: h.Account("mine")}
}

// TestHostsOfTheCustomer simulates a provider whose customers choose the domain.
func TestHostsOfTheCustomer(t *testing.T) {
	newSimulated(t, `{id: example, display_name: Example, any_host: true, allowed_hosts: ["${host}", "${tenant}.example.com"], auth_methods: [{id: main, display_name: Main,
		fields: [{id: host, display_name: Host, required: true, secret: false}, {id: tenant, display_name: Tenant, required: true, secret: false}, `+clientKey+`],
		token_request: {url: "https://${host}/${tenant}/token", body: FORM, client_authentication: REQUEST_BODY}, `+bearer+`}]}`).checkLife()
}

// TestRefreshTokensOfAnAccount simulates a provider that replaces the refresh token at each use.
func TestRefreshTokensOfAnAccount(t *testing.T) {
	s := newSimulated(t, `{id: example, display_name: Example, allowed_hosts: [api.example.test], auth_methods: [{id: main, display_name: Main,
		fields: [{id: refresh_token, display_name: Refresh token, required: true, secret: true}],
		token_request: {url: "https://api.example.test/token", body: FORM, client_authentication: NONE, grant_type: refresh_token,
			parameters: {refresh_token: "${refresh_token}"}, response: {refresh_token: refresh_token}}, `+bearer+`}]}`,
		brokertest.WithEnv("STORE_KEY", fleetkeys.Generate()),
		brokertest.WithConfig(fmt.Sprintf(`{%s, store: {url: "sqlite://%s", keys: [{env: STORE_KEY}]}}`, strings.Trim(managing, "{}"), filepath.Join(t.TempDir(), "broker.db"))))
	first := s.account.Values()["refresh_token"]
	s.checkLife()
	if s.account.Values()["refresh_token"] == first || s.account.TotalTokenRequests() != 3 {
		t.Errorf("after %d token requests, of which the last was refused, the refresh token must be another", s.account.TotalTokenRequests())
	}
}

// TestFractionsOfSeconds checks that the simulator accepts a JWT whose claims are rounded down.
func TestFractionsOfSeconds(t *testing.T) {
	now := time.Now().Truncate(time.Second).Add(400 * time.Millisecond)
	newSimulated(t, `{id: example, display_name: Example, allowed_hosts: [api.example.test], auth_methods: [{id: main, display_name: Main, fields: [`+secretKey+`],
		jwt: {algorithm: HS256, key: "${key}", lifetime: 3600.7s, backdate: 500ms, claims: {}}, headers: [{name: Authorization, value: "Bearer ${jwt}"}]}]}`,
		brokertest.WithClock(clockwork.NewFakeClockAt(now))).checkLife()
}
