package strategies

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/jsonpath"
)

const (
	// maxTokenSize is the largest size of a token, in bytes. The tokens of known providers have 0.8
	// to 8 KB.
	maxTokenSize = 64 << 10
)

// tokenAnswer is the answer to a token request, or to a request that comes first. Its body is read as
// JSON, whatever the header Content-Type says.
type tokenAnswer struct {
	provider string // display name
	status   int
	header   http.Header
	text     []byte // the body
	body     any    // the result of jsonpath.Decode
	isJSON   bool
	isObject bool // whether the body is a JSON object
	hasError bool
	meaning  fault.Reason // the meaning of the error code; empty if unknown
	code     string       // the error code; empty if it is not registered
	// refused is true if the definition states that the answer refuses the credential.
	refused bool
	// first is the ID of the request, or empty if it is the token request.
	first  string
	isLast bool // whether the answer is not one to a request that comes first
}

func readTokenAnswer(provider string, status int, header http.Header, text []byte, refused []catalog.Condition) *tokenAnswer {
	a := &tokenAnswer{provider: provider, status: status, header: header, text: text}
	if len(text) > maxAnswerSize {
		return a
	}
	body, err := jsonpath.Decode(bytes.TrimPrefix(text, []byte("\ufeff")))
	a.body, a.isJSON = body, err == nil
	object, isObject := body.(map[string]any)
	a.isObject = isObject
	a.refused = slices.ContainsFunc(refused, func(c catalog.Condition) bool { return c.Matches(status, header, a.body, a.isJSON) })
	// RFC 6749, section 5.2, defines the field `error`.
	if value := object["error"]; !isEmpty(value) {
		a.hasError = true
		code, _ := value.(string) // the code stays empty if the field is not a string
		registered := false
		if a.meaning, registered = meaningOf(code); registered {
			a.code = code
		}
	}
	return a
}

// isEmpty reports whether a JSON value is null, false, 0, or an empty string, list or object.
func isEmpty(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case bool:
		return !value
	case json.Number:
		return value == "0"
	case string:
		return value == ""
	case []any:
		return len(value) == 0
	case map[string]any:
		return len(value) == 0
	}
	return false
}

// failure explains why the answer does not have what was asked for, or is nil.
func (a *tokenAnswer) failure(location catalog.Location) *fault.Error {
	needsObject := location.Path != nil
	if a.refused || a.status/100 != 2 || needsObject && !a.isJSON || a.hasError || len(a.text) > maxAnswerSize {
		return a.refusal()
	}
	return nil
}

// find returns a value of the answer, which can be placed in a header.
func (a *tokenAnswer) find(location catalog.Location) (string, *fault.Error) {
	value, found := location.Find(a.header, a.text, a.body)
	switch {
	case !found:
		return "", a.unusable("no " + location.String())
	case len(value) > maxTokenSize || invalidHeaderValue(value) != "":
		return "", a.unusable("a value of " + location.String() + " that no header can carry")
	}
	return value, nil
}

func isText(value any) bool {
	_, ok := value.(string)
	return ok
}

// values returns the values at the given locations.
func (a *tokenAnswer) values(locations catalog.Values) (map[string]string, *fault.Error) {
	values := map[string]string{}
	for name, location := range locations {
		failure := a.failure(location)
		if failure == nil {
			values[name], failure = a.find(location)
		}
		if failure != nil {
			return nil, failure
		}
	}
	return values, nil
}

// token returns the token in the answer and the token's lifetime, which is 0 if it is missing or
// cannot be parsed. If the answer contains no token, the result `failure` explains why. The lifetime
// counts from `now`, a wall-clock time.
func (a *tokenAnswer) token(response *catalog.Response, now time.Time) (value string, lifetime time.Duration, failure *fault.Error) {
	if failure = a.failure(response.Token); failure != nil {
		return "", 0, failure
	}
	if value, failure = a.find(response.Token); failure != nil {
		return "", 0, failure
	}
	if found, _ := response.Token.Path.Find(a.body); response.Token.Path != nil && !isText(found) {
		return "", 0, a.unusable("a value of " + response.Token.String() + " that is no text")
	}
	lifetime = a.lifetime(response, value, now)
	switch {
	case lifetime < 0 && response.Lifetime != nil:
		return "", 0, a.unusable("a negative " + response.Lifetime.String())
	case lifetime < 0:
		return "", 0, a.unusable("a token that has expired")
	}
	return value, lifetime, nil
}

func (a *tokenAnswer) refusal() *fault.Error {
	reason := a.reason()
	switch class := a.status / 100; {
	case reason == fault.CredentialRejected:
		return a.fail(reason, "refused the credential")
	case reason == fault.ProviderRateLimited:
		return a.fail(reason, "answered that there are too many token requests")
	case class == 3:
		return a.unusable("a redirect, which is not followed")
	case class == 2 && len(a.text) > maxAnswerSize:
		return a.unusable("more than 1 MiB")
	case class == 2 && len(bytes.TrimSpace(a.text)) == 0:
		return a.unusable("an empty body")
	case class == 2 && !a.isObject:
		return a.unusable("a body that is not a JSON object")
	case class == 4 && !a.hasError:
		return a.unusable("neither a token nor an OAuth error")
	default:
		return a.fail(reason, "could not answer "+a.request())
	}
}

func (a *tokenAnswer) unusable(what string) *fault.Error {
	return a.fail(fault.ProviderUnavailable, "answered "+a.request()+" with "+what)
}

func (a *tokenAnswer) request() string {
	if a.first != "" {
		return fmt.Sprintf("the request %q", a.first)
	}
	return "the token request"
}

func (a *tokenAnswer) fail(reason fault.Reason, what string) *fault.Error {
	status := fmt.Sprintf("HTTP %d", a.status)
	if a.code != "" {
		status += ", " + a.code
	}
	return fault.New(reason, fmt.Sprintf("%s %s (%s)", a.provider, what, status))
}
