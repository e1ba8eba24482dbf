package strategies

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/token"
)

const (
	// maxTokenSize is the maximum size of a token in bytes. Tokens seen so far have 0.8 to 8 KB.
	maxTokenSize = 64 << 10
	// maxRetryAfter is the longest delay that a provider can impose by Retry-After.
	maxRetryAfter = 15 * time.Minute
	// minLifetime is the shortest lifetime of a token.
	minLifetime = time.Millisecond
)

// tokenAnswer is an answer to a token request. Its body is read as JSON, whatever its
// Content-Type.
type tokenAnswer struct {
	provider string // the provider's display name
	status   int
	body     []byte
	// fields contains the fields of the body by their exact names (RFC 6749, sections 5.1 and
	// 5.2). The values are not parsed, so that an invalid value does not affect other fields.
	// Nil: the body is not a JSON object.
	fields   map[string]json.RawMessage
	hasError bool
	meaning  fault.Reason // meaning of the error code; "" if it is unknown
	code     string       // the error code, if it is registered
}

func readTokenAnswer(provider string, status int, body []byte) *tokenAnswer {
	a := &tokenAnswer{provider: provider, status: status, body: body}
	if len(body) > maxAnswerSize || json.Unmarshal(bytes.TrimPrefix(body, []byte("\ufeff")), &a.fields) != nil {
		a.fields = nil
	}
	switch raw := a.fields["error"]; string(raw) {
	case "", "null", `""`, "false", "0", "[]", "{}":
	default:
		a.hasError = true
		var code string
		_ = json.Unmarshal(raw, &code) // an error that is not a string has no code
		registered := false
		if a.meaning, registered = meaningOf(code); registered {
			a.code = code
		}
	}
	return a
}

// token returns the token in the answer and its lifetime. The lifetime is 0 if it is missing or
// cannot be parsed. If there is no token, failure explains why.
func (a *tokenAnswer) token() (value string, lifetime time.Duration, failure *fault.Error) {
	if a.status/100 != 2 || a.fields == nil || a.hasError {
		return "", 0, a.refusal()
	}
	if json.Unmarshal(a.fields["access_token"], &value) != nil || value == "" {
		return "", 0, a.unusable("no access_token")
	}
	if len(value) > maxTokenSize || invalidHeaderValue(value) != "" {
		return "", 0, a.unusable("an access_token that no header can carry")
	}
	if lifetime = parseLifetime(a.fields["expires_in"]); lifetime < 0 {
		return "", 0, a.unusable("a negative expires_in")
	}
	return value, lifetime, nil
}

// refusal returns the failure that an answer without a token stands for.
func (a *tokenAnswer) refusal() *fault.Error {
	reason := a.reason()
	switch class := a.status / 100; {
	case reason == fault.CredentialRejected:
		return a.fail(reason, "refused the credential")
	case reason == fault.ProviderRateLimited:
		return a.fail(reason, "answered that there are too many token requests")
	case class == 3:
		return a.unusable("a redirect, which is not followed")
	case class == 2 && len(a.body) > maxAnswerSize:
		return a.unusable("more than 1 MiB")
	case class == 2 && len(bytes.TrimSpace(a.body)) == 0:
		return a.unusable("an empty body")
	case class == 2 && a.fields == nil:
		return a.unusable("a body that is not a JSON object")
	case class == 4 && !a.hasError:
		return a.unusable("neither a token nor an OAuth error")
	default:
		return a.fail(reason, "could not answer the token request")
	}
}

func (a *tokenAnswer) unusable(what string) *fault.Error {
	return a.fail(fault.ProviderUnavailable, "answered the token request with "+what)
}

// fail returns an Error whose message names the provider, the status, and the error code if it
// is registered.
func (a *tokenAnswer) fail(reason fault.Reason, what string) *fault.Error {
	status := fmt.Sprintf("HTTP %d", a.status)
	if a.code != "" {
		status += ", " + a.code
	}
	return fault.New(reason, fmt.Sprintf("%s %s (%s)", a.provider, what, status))
}

// parseRetryAfter reads the header Retry-After: seconds or a date (RFC 9110, section 10.2.3). It
// compares a date with the answer's Date header, or with the wall-clock time if there is no Date
// (section 6.6.1). The result is at most maxRetryAfter. It is 0 if Retry-After is missing or
// cannot be parsed.
func parseRetryAfter(header http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(header.Get("Retry-After"))
	seconds, err := strconv.ParseUint(text, 10, 32)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	date, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if sent, err := http.ParseTime(header.Get("Date")); err == nil {
		now = sent
	}
	return min(max(date.Sub(now), 0), maxRetryAfter)
}

// decimal matches a number in the form of JSON and most other formats.
var decimal = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// parseLifetime reads expires_in: a number of seconds, or a string that contains a number. The
// result is at most token.MaxLifetime, and negative if the number is negative. If the field is
// missing, null, 0 or invalid, the result is 0, because an invalid lifetime does not make a
// token unusable.
func parseLifetime(raw json.RawMessage) time.Duration {
	text := strings.TrimSpace(strings.Trim(string(raw), `"`))
	if !decimal.MatchString(text) {
		return 0
	}
	seconds, _ := strconv.ParseFloat(text, 64) // seconds is infinite if the number is out of range
	switch {
	case seconds == 0:
		return 0
	case seconds < 0:
		return -1
	case seconds >= token.MaxLifetime.Seconds():
		return token.MaxLifetime
	default:
		return max(minLifetime, time.Duration(seconds*float64(time.Second)))
	}
}
