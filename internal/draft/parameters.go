package draft

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
)

// constants are parameters whose values belong to the API, and not to an account.
var (
	constants     = regexp.MustCompile(`^(scope|.*_type)$`)
	constant      = regexp.MustCompile(`^[a-zA-Z][A-Za-z0-9:_.-]*$`)
	assertions    = regexp.MustCompile(`^(client_)?assertion$`)
	accountValues = regexp.MustCompile(`(?i)^(audience|resource|.*id|user_?name|email|user|login|tenant|account|company|domain)$`)
)

// parameter returns the value of a parameter in the definition. A text becomes a field, unless it
// belongs to the API.
func (r *tokenReader) parameter(name string, value any) any {
	switch value := value.(type) {
	case map[string]any:
		object := map[string]any{}
		for member, item := range value {
			object[member] = r.parameter(member, item)
		}
		return object
	case []any:
		list := []any{}
		for _, item := range value {
			list = append(list, r.parameter(name, item))
		}
		return list
	case string:
		return r.textParameter(name, value)
	case float64:
		if ownPart(name) || namesSecret(name) || value >= 1e6 {
			return "${" + r.add(fieldID(name, "parameter"), "") + "}"
		}
	}
	return value
}

func (r *tokenReader) textParameter(name, value string) string {
	own := ownPart(value)
	switch {
	case assertions.MatchString(name) && r.request.JWT == nil:
		r.readAssertion(value, name != "assertion")
		return "${jwt}"
	case name == "scope" && !own, constants.MatchString(name) && constant.MatchString(value) && !own, value == "":
		return value
	case namesVersion(name) && version.MatchString(value):
		return value
	case accountValues.MatchString(name) && !own:
		return "${" + r.addField(fieldID(name, "parameter"), value, false) + "}"
	}
	return "${" + r.add(fieldID(name, "parameter"), value) + "}"
}

var algorithms = regexp.MustCompile(`^((RS|PS|ES)(256|384|512)|EdDSA)$`)

// readAssertion adds the JWT that the token request has as an assertion. Its header and its claims are
// those of the command, if it has a whole JWT. A JWT that authenticates the client has the client as
// its issuer and its subject (RFC 7523, section 3).
func (r *tokenReader) readAssertion(signed string, forClient bool) {
	const note = "The command has a JWT that was signed before. The broker signs a new one: check the algorithm and the claims."
	r.request.Notes = append(r.request.Notes, note)
	r.Method.ID, r.Method.DisplayName = "private_key", "Private key"
	jwt := &JWT{Algorithm: "RS256"}
	r.request.JWT = jwt
	r.addField("private_key", "", true)
	header, claims := decodeJWT(signed)
	if algorithm, _ := header["alg"].(string); algorithms.MatchString(algorithm) {
		jwt.Algorithm = algorithm
	}
	if kid, ok := header["kid"].(string); ok {
		jwt.Header = []Parameter{{"kid", "${" + r.addField("key_id", kid, false) + "}"}}
	}
	issuer, _ := claims["iss"].(string)
	subject, hasSubject := claims["sub"].(string)
	id := "issuer"
	if forClient {
		id = "client_id"
		hasSubject, subject = true, issuer
	}
	id = "${" + r.addField(id, issuer, false) + "}"
	jwt.Claims = []Parameter{{"iss", id}, {"aud", r.audience(claims)}}
	switch {
	case hasSubject && subject == issuer:
		jwt.Claims = append(jwt.Claims, Parameter{"sub", id})
	case hasSubject:
		jwt.Claims = append(jwt.Claims, Parameter{"sub", "${" + r.addField("subject", subject, false) + "}"})
	}
	if scope, ok := claims["scope"].(string); ok && !ownPart(scope) {
		jwt.Claims = append(jwt.Claims, Parameter{"scope", scope})
	}
}

// audience returns the claim aud, which usually is the URL of the token request.
func (r *tokenReader) audience(claims map[string]any) string {
	audience, ok := claims["aud"].(string)
	switch {
	case ok && !ownPart(audience):
		return audience
	case ok:
		return "${" + r.addField("audience", audience, false) + "}"
	case ownPart(r.command.URL.String()):
		return "${" + r.addField("audience", "", false) + "}"
	}
	return r.command.URL.String()
}

// decodeJWT returns the header and the claims of a JWT, which are empty if the text is none.
func decodeJWT(text string) (header, claims map[string]any) {
	if parts := strings.Split(text, "."); len(parts) == 3 {
		return decodePart(parts[0]), decodePart(parts[1])
	}
	return nil, nil
}

func decodePart(part string) (members map[string]any) {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil || json.Unmarshal(text, &members) != nil {
		return nil
	}
	return members
}
