package catalog_test

import (
	"strings"
	"testing"
)

// These texts are parts of several problems.
const (
	noDomain      = "must end, after its last expression, in a dot and a registered domain of the provider, such as .example.com; if the provider's customers choose the domain, set any_host: true, and each credential must list its host in allowed_hosts"
	notHost       = "must be one host name or IP address in lower case, optionally with a port up to 65535: no scheme, no path, no wildcard"
	notID         = "must be 1 to 63 lower-case letters, digits, underscores and hyphens, and begin with a letter or digit"
	notIdentifier = "must be 1 to 63 lower-case letters, digits and underscores, and begin with a letter"
	reserved      = "use another name: this name is a reserved word of the expression language"
	unprintable   = "must have no line breaks or other control characters, and in a header only ASCII characters"
	functions     = "base64(text), json(text, path), sha256(text), fingerprint(key), thumbprint(certificate), lower(text), upper(text), field.orValue(text)"
)

// keyFields and bearer are in line 7 and the last line of a definition, and the rest is between them.
const keyFields = "  fields: [{id: key, display_name: K, required: true, secret: true}, {id: a, display_name: A}]\n" +
	"  query_params: [{name: a, value: \"${a}\"}, {name: k, value: \"${key}\"}]\n"

// requested returns a definition whose token request has these keys in line 10.
func requested(rest string) string {
	return with(keyFields + "  token_request:\n    {" + rest + "}\n" + bearer)
}

const plainRequest = "url: \"https://p.test/t\", body: NONE, client_authentication: NONE, "

// signing returns a definition whose jwt has these keys in line 10.
func signing(rest string) string {
	return with(keyFields + "  jwt:\n    {" + rest + "}\n  headers: [{name: A, value: \"${jwt}\"}]\n")
}

// hosted returns a definition whose only host is in line 3.
func hosted(host string) string {
	return strings.Replace(with(keyFields+"  headers: [{name: X, value: \"${key}\"}]\n"), "p.test", quoted(host), 1)
}

// first returns a token request with first requests.
func first(list string) string { return requested(plainRequest + "first: [" + list + "]") }

func response(rest string) string { return requested(plainRequest + "response: {" + rest + "}") }

const login = `{id: login, url: "https://p.test/l", body: NONE, values: {url: url}}`

func TestFormMistakes(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"secret in a host":            {hosted("${key}.example.com"), `p.yaml:3:17: the field "key" is secret, and a host may use only fields that are not secret`},
		"secret in another method":    {hosted("${a}.example.com") + "- id: n\n  display_name: N\n  fields: [{id: a, display_name: A, required: true, secret: true}]\n  headers: [{name: X, value: \"${a}\"}]\n", `p.yaml:3:17: the field "a" is secret, and a host may use only fields that are not secret`},
		"host without a domain":       {hosted("${a}"), "p.yaml:3:17: " + noDomain},
		"host with a public suffix":   {hosted("${a}.co.uk"), "p.yaml:3:17: " + noDomain},
		"host with a wildcard suffix": {hosted("${a}.kobe.jp"), "p.yaml:3:17: " + noDomain},
		"expression after the domain": {hosted("example.com.${a}"), "p.yaml:3:17: " + noDomain},
		"expression in a port":        {hosted("example.com:${a}"), "p.yaml:3:17: " + notHost},
		"capitals in a host":          {hosted("${a}.Example.com"), "p.yaml:3:17: " + notHost},
		"unknown field in a host":     {hosted("${b}.example.com"), "p.yaml:3:20: unknown field or function; there are: key, a, " + functions},
		"token in a host":             {hosted("${token}.example.com"), "p.yaml:3:20: unknown field or function; there are: key, a, " + functions},
		"scheme of a host":            {hosted("https://${a}.example.com"), "p.yaml:3:17: " + notHost},
		"provider ID":                 {strings.Replace(hosted("p.test"), "id: p", "id: -p", 1), "p.yaml:1:5: " + notID},
		"capitals in an ID":           {strings.Replace(hosted("p.test"), "id: p", "id: Pp", 1), "p.yaml:1:5: " + notID},
		"hyphen in a field":           {with("  fields: [{id: a-b, display_name: A}]\n  headers: [{name: X, value: x}]\n"), "p.yaml:7:17: " + notIdentifier},
		"source that is no link":      {"sources: [http://p.test]\n" + hosted("p.test"), "p.yaml:1:11: must be a link that begins with https://"},

		"URL that begins with a field":     {requested(`url: "${a}/t", body: NONE, client_authentication: NONE`), "p.yaml:10:11: must begin with https://, or with an expression that is one value of an earlier request, such as ${login.url}"},
		"URL that begins with two values":  {requested(`url: "${login.url + a}/t", body: NONE, client_authentication: NONE, first: [` + login + `]`), "p.yaml:10:11: must begin with https://, or with an expression that is one value of an earlier request, such as ${login.url}"},
		"URL without a slash":              {requested(`url: "${login.url}.test/t", body: NONE, client_authentication: NONE, first: [` + login + `]`), "p.yaml:10:11: must have a slash or a question mark after the expression with which it begins"},
		"expression as the scheme":         {requested(`url: "https${a}://p.test/", body: NONE, client_authentication: NONE`), "p.yaml:10:11: must begin with https://, or with http:// and a literal loopback address"},
		"expression with plain http":       {requested(`url: "http://${a}.example.com/", body: NONE, client_authentication: NONE`), "p.yaml:10:11: must begin with https://, or with http:// and a literal loopback address"},
		"expression in a port of a URL":    {requested(`url: "https://p.test:${a}/", body: NONE, client_authentication: NONE`), "p.yaml:10:11: must be a URL such as https://api.example.com/oauth/token"},
		"expression as a user":             {requested(`url: "https://${a}@p.test/", body: NONE, client_authentication: NONE`), "p.yaml:10:11: must not have a user or a fragment: remove it"},
		"expression as a fragment":         {requested(`url: "https://p.test/#${a}", body: NONE, client_authentication: NONE`), "p.yaml:10:11: must not have a user or a fragment: remove it"},
		"two dots in a URL":                {requested(`url: "https://p.test/a/../b", body: NONE, client_authentication: NONE`), "p.yaml:10:11: must have no empty segment in its path, and none that is a dot or two dots"},
		"secret in the host of a URL":      {requested(`url: "https://${key}.example.com/", body: NONE, client_authentication: NONE`), `p.yaml:10:11: the field "key" is secret, and a host may use only fields that are not secret`},
		"JWT in the host of a URL":         {requested(`url: "https://${jwt}.example.com/", body: NONE, client_authentication: NONE, jwt: {algorithm: HS256, key: "${key}", claims: {}}`), "p.yaml:10:11: the JWT is secret: use it in a parameter or a header, not in a host"},
		"domain in the query":              {requested(`url: "https://${a}?x=://b.example.com", body: NONE, client_authentication: NONE`), "p.yaml:10:11: " + noDomain},
		"domain in the query, with a path": {requested(`url: "https://${a}.com/x?y=://b.example.com", body: NONE, client_authentication: NONE`), "p.yaml:10:11: " + noDomain},
		"port 0":                           {requested(`url: "https://p.test:0/", body: NONE, client_authentication: NONE`), "p.yaml:10:11: must be a URL such as https://api.example.com/oauth/token"},
		"value of a later request":         {requested(`url: "https://p.test/", body: NONE, client_authentication: NONE, first: [{id: one, url: "https://p.test/${two.x}", body: NONE, values: {x: x}}, {id: two, url: "https://p.test/", body: NONE, values: {x: x}}]`), "p.yaml:10:112: unknown field or function; there are: key, a, " + functions},

		"method":                         {requested(plainRequest + "method: DELETE"), `p.yaml:10:80: must be one of "GET", "POST", "PUT"`},
		"GET with a body":                {requested(`url: "https://p.test/t", body: FORM, client_authentication: NONE, method: GET`), "p.yaml:10:37: a GET request has no body: use QUERY or NONE"},
		"parameters without a body":      {requested(plainRequest + "parameters: {a: b}"), "p.yaml:10:72: a request with the body NONE has no parameters: use JSON, FORM or QUERY"},
		"number in a form":               {requested(`url: "https://p.test/t", body: FORM, client_authentication: NONE, parameters: {a: 1, b: [x, 2], c: {d: e}}`), "p.yaml:10:88: must be a string or a list of strings: only a body in JSON can have other values\np.yaml:10:94: must be a string or a list of strings: only a body in JSON can have other values\np.yaml:10:105: must be a string or a list of strings: only a body in JSON can have other values"},
		"deep parameter":                 {requested(`url: "https://p.test/t", body: JSON, client_authentication: NONE, parameters: {a: [[[[[[[[1]]]]]]]]}`), "p.yaml:10:95: is nested too deeply"},
		"client's secret without a body": {with(strings.Replace(tokenRequest(""), "body: JSON, client_authentication: BASIC", "body: NONE, client_authentication: REQUEST_BODY", 1)), "p.yaml:8:79: a request with the body NONE cannot contain the client's ID and secret: use JSON, FORM, QUERY or BASIC"},
		"grant type without a body":      {requested(plainRequest + "grant_type: password"), "p.yaml:10:84: a request with the body NONE has no parameters: remove the key, or use JSON, FORM or QUERY"},
		"header of the client":           {with(strings.Replace(tokenRequest(""), "body: JSON, client_authentication: BASIC", "body: JSON, client_authentication: BASIC, headers: [{name: authorization, value: x}]", 1)), "p.yaml:8:103: client_authentication BASIC sets this header: remove the header, or use NONE"},
		"reserved header":                {requested(plainRequest + `headers: [{name: Host, value: x}]`), "p.yaml:10:89: the header Host is reserved for HTTP itself: use another header"},
		"unknown authentication":         {requested(`url: "https://p.test/t", body: NONE, client_authentication: DIGEST`), `p.yaml:10:66: must be one of "REQUEST_BODY", "BASIC", "BASIC_UNENCODED", "NONE"`},
		"client ID that is not required": {with(strings.Replace(tokenRequest(""), "display_name: I, required: true", "display_name: I", 1)), `p.yaml:7:11: a method whose token_request has the client_authentication BASIC needs a required field "client_id"`},
		"certificate without a key":      {requested(plainRequest + `client_certificate: {certificate: "${a}"}`), `p.yaml:10:92: the key "private_key" is missing`},
		"misspelt key":                   {requested(plainRequest + `header: []`), `p.yaml:10:72: unknown key; did you mean "headers"?`},

		"JWT and token request":    {with(keyFields + "  token_request: {" + plainRequest + "}\n  jwt: {algorithm: HS256, key: \"${key}\", claims: {}}\n" + bearer), "p.yaml:10:3: is not allowed together with token_request"},
		"algorithm none":           {signing(`algorithm: none, key: "${key}", claims: {}`), `p.yaml:10:17: must be one of "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"`},
		"reserved claims":          {signing(`algorithm: HS256, key: "${key}", claims: {iat: 1, exp: 2, jti: x}`), "p.yaml:10:48: the broker sets \"iat\" itself\np.yaml:10:56: the broker sets \"exp\" itself\np.yaml:10:64: the broker sets \"jti\" itself"},
		"reserved header of a JWT": {signing(`algorithm: HS256, key: "${key}", header: {alg: none}, claims: {}`), `p.yaml:10:48: the broker sets "alg" itself`},
		"critical header of a JWT": {signing(`algorithm: HS256, key: "${key}", header: {b64: false, crit: [b64]}, claims: {}`), "p.yaml:10:48: changes how receivers read the JWT, so it is not allowed: remove it\np.yaml:10:60: changes how receivers read the JWT, so it is not allowed: remove it"},
		"literal key":              {signing(`algorithm: RS256, key: key, claims: {}`), "p.yaml:10:29: must have an expression, such as ${private_key}, because the key is a value of the credential"},
		"encoding of a PEM key":    {signing(`algorithm: RS256, key: "${key}", key_encoding: BASE64, claims: {}`), "p.yaml:10:39: is for the algorithms HS256, HS384 and HS512: the key of RS256 is in PEM"},
		"unknown encoding":         {signing(`algorithm: HS256, key: "${key}", key_encoding: BASE32, claims: {}`), `p.yaml:10:53: must be one of "TEXT", "BASE64", "HEX"`},
		"lifetime of a JWT":        {signing(`algorithm: HS256, key: "${key}", lifetime: 169h, backdate: 6m, claims: {}`), "p.yaml:10:49: must be a duration from 1s to 168h, such as 5m\np.yaml:10:65: must be a duration from 0s to 5m, such as 60s"},
		"JWT without claims":       {signing(`algorithm: HS256, key: "${key}"`), `p.yaml:10:5: the key "claims" is missing`},
		"JWT that is not used":     {requested(plainRequest + `jwt: {algorithm: HS256, key: "${key}", claims: {}}`), "p.yaml:10:72: the JWT is never used: use ${jwt} in a parameter or a header of the token request"},
		"JWT in an earlier request": {requested(plainRequest + `headers: [{name: X, value: "${jwt}"}], jwt: {algorithm: HS256, key: "${key}", claims: {}}, ` +
			`first: [{id: one, url: "https://p.test/${jwt}", body: NONE, values: {x: x}}]`), "p.yaml:10:204: unknown field or function; there are: key, a, " + functions},
		"unused self-signed JWT": {strings.Replace(signing(`algorithm: HS256, key: "${key}", claims: {}`), "${jwt}", "x", 1), "p.yaml:10:5: the JWT is never used: no header or query parameter holds ${jwt}"},
		"token of a JWT":         {strings.Replace(signing(`algorithm: HS256, key: "${key}", claims: {}`), "${jwt}", "${token}", 1), "p.yaml:11:33: unknown field or function; there are: key, a, jwt, " + functions},

		"six requests":                   {first(strings.Repeat(login+", ", 5) + login), "p.yaml:10:79: must have 1 to 5 items, and has 6\np.yaml:10:155: duplicate ID: it is already in line 10\np.yaml:10:225: duplicate ID: it is already in line 10\np.yaml:10:295: duplicate ID: it is already in line 10\np.yaml:10:365: duplicate ID: it is already in line 10\np.yaml:10:435: duplicate ID: it is already in line 10"},
		"request twice":                  {first(login + ", " + login), "p.yaml:10:155: duplicate ID: it is already in line 10"},
		"request named response":         {first(strings.Replace(login, "id: login", "id: response", 1)), "p.yaml:10:85: use another name: this name is already taken"},
		"request named as a field":       {first(strings.Replace(login, "id: login", "id: a", 1)), "p.yaml:10:85: use another name: this name is already taken"},
		"request with a hyphen":          {first(strings.Replace(login, "id: login", "id: a-b", 1)), "p.yaml:10:85: " + notIdentifier},
		"request named as a word of CEL": {first(strings.Replace(login, "id: login", "id: package", 1)), "p.yaml:10:85: " + reserved},
		"value named as a word of CEL":   {first(strings.Replace(login, "url: url", "in: url", 1)), "p.yaml:10:138: " + reserved},
		"request without values":         {first(`{id: login, url: "https://p.test/l", body: NONE}`), `p.yaml:10:80: the key "values" is missing`},
		"request with no value":          {first(`{id: login, url: "https://p.test/l", body: NONE, values: {}}`), `p.yaml:10:137: must have at least one key: the answer has succeeded if it has these values`},
		"name of a value":                {first(strings.Replace(login, "url: url", "URL: url", 1)), "p.yaml:10:138: " + notIdentifier},
		"unknown value":                  {requested(`url: "https://p.test/${login.id}", body: NONE, client_authentication: NONE, first: [` + login + `]`), "p.yaml:10:29: unknown field or function; there are: key, a, login.url, " + functions},

		"client authentication": {strings.ReplaceAll(requested(`url: "https://p.test/t", body: FORM, client_authentication: basic`), "{id: key,", "{id: client_id, display_name: I, required: true}, {id: client_secret, display_name: S, required: true}, {id: key,"), `p.yaml:10:66: must be one of "REQUEST_BODY", "BASIC", "BASIC_UNENCODED", "NONE"`},

		"lifetime and expires_at":     {response("lifetime: a, expires_at: b"), "p.yaml:10:96: is not allowed together with lifetime"},
		"unit of expires_at":          {response("lifetime_unit: MINUTES, expires_at: b"), "p.yaml:10:83: is not allowed together with expires_at"},
		"unknown unit":                {response("lifetime_unit: HOURS"), `p.yaml:10:98: must be one of "SECONDS", "MILLISECONDS", "MINUTES"`},
		"cookie and header":           {response("token: {cookie: a, header: b}"), `p.yaml:10:90: must have either the key "cookie" or the key "header"`},
		"cookie without a name":       {response("token: {cookie: \"a b\"}"), "p.yaml:10:99: must be the name of a cookie or a header"},
		"path with an empty name":     {response("token: a..b"), `p.yaml:10:90: a path has 1 to 20 names of members, separated by dots, such as data.token; write \. for a dot in a name`},
		"path with an expression":     {response("token: \"${a}\""), "p.yaml:10:91: " + unevaluated},
		"condition without a part":    {response("refused: [{}]"), "p.yaml:10:93: matches every answer: add statuses, headers or json"},
		"no condition":                {response("refused: []"), "p.yaml:10:92: must have 1 to 20 items, and has 0"},
		"odd condition":               {response("refused: [{json: {a: [1]}, statuses: [600]}]"), "p.yaml:10:104: must be a string, a number, or true or false, and is a list\np.yaml:10:121: must be a whole number from 200 to 599"},
		"unknown value of an answer":  {strings.Replace(response("values: {b: b}"), `"${token}"`, `"${token} ${response.c}"`, 1), "p.yaml:11:50: unknown field or function; there are: key, a, response.b, token, " + functions},
		"expressions in a condition":  {response(`refused: [{headers: {x: "${a}"}, json: {"${a}": 1, b: "${a}", c: {not: "${a}"}}}]`), "p.yaml:10:108: " + unevaluated + "\np.yaml:10:124: " + unevaluated + "\np.yaml:10:138: " + unevaluated + "\np.yaml:10:155: " + unevaluated},
		"reserved word of an answer":  {response("values: {function: b}"), "p.yaml:10:92: " + reserved},
		"values that are not used":    {strings.Replace(response("values: {b: b}"), `"${token}"`, `"x"`, 1), "p.yaml:10:5: the token is never used: no header or query parameter holds ${token}"},
		"line break in a header":      {with(keyFields + "  headers: [{name: X, value: \"${key}\\n\"}]\n"), "p.yaml:9:30: " + unprintable},
		"other letters in a header":   {requested(plainRequest + `headers: [{name: X, value: "é${key}"}]`), "p.yaml:10:99: " + unprintable},
		"line break in a parameter":   {with("  fields: [{id: key, display_name: K}]\n  query_params: [{name: X, value: \"é\\t${key}\"}]\n"), "p.yaml:8:35: " + unprintable},
		"refresh token without field": {response("refresh_token: refresh_token"), `p.yaml:10:98: needs a required secret field "refresh_token", which the token request uses`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := define(test.text)
			if err == nil {
				t.Fatal("the definition has no problem")
			}
			if err.Error() != test.want {
				t.Errorf("the problems are\n%v\nwant\n%s", err, test.want)
			}
		})
	}
}
