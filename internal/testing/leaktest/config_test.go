package leaktest_test

import (
	"strings"

	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/secret"
)

func definition(id, url, body, authentication string) string {
	return `
  - id: ` + id + `
    display_name: ` + strings.ToUpper(id) + `
    allowed_hosts: [api.example.test]
    auth_methods:
      - id: main
        display_name: Main
        fields:
          - {id: client_id, display_name: ID, required: true, secret: false}
          - {id: client_secret, display_name: Secret, required: true, secret: true}
          - {id: audience, display_name: Audience, required: true, secret: true}
        token_request: {url: "` + url + `", body: ` + body + `, client_authentication: ` + authentication + `, parameters: {audience: "${audience}"}}
        headers: [{name: Authorization, value: "Bearer ${token}"}]
        query_params: [{name: token, value: "${token}"}]
`
}

const staticDefinition = `
  - id: static
    display_name: Static
    allowed_hosts: [api.example.test]
    auth_methods:
      - id: main
        display_name: Main
        fields: [{id: key, display_name: Key, required: true, secret: true}, {id: email, display_name: Email, required: true}]
        headers: [{name: X-Key, value: "${key}"}, {name: Authorization, value: "Basic ${base64(email + ':' + key)}"}]
        query_params: [{name: key, value: "${key}"}]
`

// credentials returns the section `credentials` of the configuration file, and the IDs of the
// credentials for which calls must fail.
func (w *world) credentials() (text string, failing []string) {
	var all strings.Builder
	add := func(id, provider, values string) {
		_, _ = all.WriteString("  - {id: " + id + ", provider: " + provider + ", auth_method: main, values: {" + values + "}}\n")
	}
	client := func(provider, name string) {
		id := provider + "-" + name
		variable := strings.ToUpper(strings.ReplaceAll(id, "-", "_"))
		w.setenv(variable, w.canary("the client secret of "+id))
		w.write(id, w.canary("the audience of "+id))
		add(id, provider, "client_id: {value: "+name+"/"+provider+"}, client_secret: {env: "+variable+"}, audience: {file: "+id+"}")
	}
	for _, provider := range []string{"json", "basic"} {
		for _, name := range misbehaving() {
			client(provider, name)
			failing = append(failing, provider+"-"+name)
		}
		client(provider, "good")
		client(provider, "later")
	}
	for _, provider := range []string{"untrusted", "unreachable", "forbidden"} {
		client(provider, "any")
		failing = append(failing, provider+"-any")
	}
	add("static", "static", "key: {value: "+inYAML(w.canary("the API key"))+"}, email: {value: "+inYAML(w.canary("the email")+"@example.test")+"}")
	return "credentials:\n" + all.String(), failing
}

// `common` returns the sections that both brokers have.
func (w *world) common(other string) string {
	return "providers:" +
		definition("json", w.provider.URL+"/token", "JSON", "REQUEST_BODY") +
		definition("basic", w.provider.URL+"/token", "FORM", "BASIC") +
		definition("untrusted", w.keys.URL+"/token", "JSON", "REQUEST_BODY") +
		definition("unreachable", "https://127.0.0.1:1/token", "JSON", "REQUEST_BODY") +
		definition("forbidden", strings.Replace(w.provider.URL, "127.0.0.1", "localhost", 1)+"/token", "JSON", "REQUEST_BODY") +
		staticDefinition + "token_requests: {ca_file: provider.pem}\n" + other
}

// overTCP returns the configuration of a broker that uses every authentication method, TLS,
// Redis and an audit file.
func (w *world) overTCP() string {
	return w.common(`
listen: {grpc: "127.0.0.1:0", http: "127.0.0.1:0", tls: {certificate_file: broker.pem, key_file: broker.key, client_ca_file: clients.pem}}
authentication:
  jwt:
    - {name: idp, issuer: "https://idp.test", audiences: [broker], jwks_url: "` + w.keys.URL + `/jwks", ca_file: issuers.pem}
    - {name: down, issuer: "https://down.test", audiences: [broker], jwks_url: "` + w.noKeys.URL + `/jwks", ca_file: issuers.pem}
  tokens: [` + w.staticToken("mailer") + `, ` + w.staticToken("stranger") + `]
grants: [{callers: ["token:mailer", "jwt:*", "spiffe://*"], credentials: ["*"]}]
audit: {file: audit.log}
token_cache:
  redis: {url: "` + w.redisURL + `", username: {env: REDIS_USER}, password: {file: redis.password}}
  fleet_keys: [{file: fleet.key}]
`)
}

// overSocket returns the configuration of a broker that listens on a Unix socket and writes the
// audit log to standard output.
func (w *world) overSocket() string {
	return w.common("listen: {grpc: \"unix://" + w.path("grpc") + "\", http: \"unix://" + w.path("http") + "\"}\naudit: {stdout: true, mode: best_effort}\n")
}

func (w *world) staticToken(name string) string {
	return `{name: ` + name + `, sha256: "` + authentication.HashToken(secret.New(w.tokens[name])).String() + `"}`
}
