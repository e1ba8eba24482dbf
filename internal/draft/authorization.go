package draft

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/curlcommand"
)

var (
	// schemes are authentication schemes whose name shows no secret. Any other word at the
	// beginning of a value may be a part of the secret.
	schemes = regexp.MustCompile(`^(?i:bearer|token|key|apikey|oauth|bot|ssws|kakaoak|splunk|hmac|[a-z-]*(token|key|auth)|[a-z]+-oauthtoken)$`)
	// assignment is a value such as token="SECRET".
	assignment = regexp.MustCompile(`^((?i:[a-z_-]*(?:token|key|auth|secret))=)("?)([^"=,;]+)("?)$`)
	signed     = regexp.MustCompile(`^(?i:AWS4?-.*|AWS|HMAC.*|Signature|Digest|NTLM|Negotiate|Hawk|.*-HMAC-.*|.*-SHA256)$`)
)

// authorization returns the template for the value of a header such as Authorization. The scheme is
// part of the template; the rest becomes a field.
func (r *reader) authorization(value, id string) (string, error) {
	scheme, rest, found := strings.Cut(value, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case signed.MatchString(scheme) || strings.Contains(value, "oauth_signature"):
		return "", errSigned("the header with the authentication")
	case !found || rest == "":
		r.name("api_key", "API key")
		return "${" + r.secret(id, value) + "}", nil
	case strings.EqualFold(scheme, "Basic"):
		return r.basic(*decodeUser(rest)), nil
	case !schemes.MatchString(scheme):
		r.name("api_key", "API key")
		r.note("The field has the whole value of the header: the first word may be a scheme that belongs into the definition.")
		return "${" + r.secret(id, value) + "}", nil
	}
	if strings.EqualFold(scheme, "Bearer") && id == "api_key" {
		id = "api_token"
	}
	r.name("api_token", "API token")
	prefix, suffix := scheme+" ", ""
	if parts := assignment.FindStringSubmatch(rest); parts != nil && parts[2] == parts[4] {
		prefix, rest, suffix = prefix+parts[1]+parts[2], parts[3], parts[4]
	}
	return prefix + "${" + r.secret(id, rest) + "}" + suffix, nil
}

// decodeUser returns the user in a value of HTTP Basic authentication.
func decodeUser(encoded string) *curlcommand.User {
	plain, err := base64.StdEncoding.DecodeString(encoded)
	name, password, found := strings.Cut(string(plain), ":")
	if err != nil || !found || strings.ContainsFunc(string(plain), isControl) {
		return &curlcommand.User{Name: curlcommand.Unknown, Password: curlcommand.Unknown}
	}
	return &curlcommand.User{Name: name, Password: password}
}

func isControl(char rune) bool { return char < ' ' || char == 0x7f }

// fixedNames and fixedPasswords are user names and passwords that some APIs expect beside a key.
var (
	fixedNames     = []string{"api", "apikey", "api_key", "api-key", "key", "token", "x", "X", "any", "anystring", "apitoken"}
	fixedPasswords = []string{"x", "X", "api_token", "unused", "pass", "password", "anything", "random"}
)

// basic returns the template for HTTP Basic authentication (RFC 7617).
func (r *reader) basic(user curlcommand.User) string {
	email, isZendesk := strings.CutSuffix(user.Name, "/token")
	var pair string
	switch {
	case user.Password == "" || slices.Contains(fixedPasswords, user.Password):
		r.name("api_key", "API key")
		if user.Password != "" {
			r.note("The command sends a fixed password beside the key.")
		}
		pair = r.secret("api_key", user.Name) + " + ':" + user.Password + "'"
	case user.Name == "" || slices.Contains(fixedNames, user.Name):
		r.name("api_key", "API key")
		if user.Name != "" {
			r.note("The command sends a fixed user name beside the key.")
		}
		pair = "'" + user.Name + ":' + " + r.secret("api_key", user.Password)
	case isZendesk:
		r.name("api_token", "Email and API token")
		pair = r.public("email", email) + " + '/token:' + " + r.secret("api_token", user.Password)
	case strings.Contains(user.Name, "@"):
		r.name("api_token", "Email and API token")
		pair = r.public("email", user.Name) + " + ':' + " + r.secret("api_token", user.Password)
	default:
		r.name("basic", "User name and password")
		id := r.addField("username", user.Name, ownPart(user.Name))
		if field := &r.Method.Fields[len(r.Method.Fields)-1]; field.Secret {
			field.Notes = []string{mayIdentify}
		}
		pair = id + " + ':' + " + r.secret("password", user.Password)
	}
	return "Basic ${base64(" + pair + ")}"
}

// name names the auth method, unless it has a name already.
func (r *reader) name(id, displayName string) {
	if r.Method.ID == "" {
		r.Method.ID, r.Method.DisplayName = id, displayName
	}
}

func (r *reader) note(text string) { r.Method.Notes = append(r.Method.Notes, text) }
