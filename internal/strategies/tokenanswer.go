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
	// maxTokenSize is the largest size of a token, in bytes. The tokens of known providers have 0.8
	// to 8 KB.
	maxTokenSize = 64 << 10
	// maxRetryAfter is the longest delay that a provider can demand in the header Retry-After.
	maxRetryAfter = 15 * time.Minute
	minLifetime   = time.Millisecond
)

// tokenAnswer is the answer to a token request, whose body is read as JSON, whatever the header
// Content-Type says.
type tokenAnswer struct {
	provider string // display name
	status   int
	body     []byte
	// The keys are the exact names of the JSON body's fields (RFC 6749, sections 5.1 and 5.2). The
	// values are not parsed yet, so that an invalid value does not affect other fields. If the body
	// is not a JSON object, the map is nil.
	fields   map[string]json.RawMessage
	hasError bool
	meaning  fault.Reason // the meaning of the error code; empty if unknown
	code     string       // the error code; empty if it is not registered
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
		_ = json.Unmarshal(raw, &code) // the code stays empty if the field `error` is not a string
		registered := false
		if a.meaning, registered = meaningOf(code); registered {
			a.code = code
		}
	}
	return a
}

// token returns the token in the answer and the token's lifetime, which is 0 if it is missing or
// cannot be parsed. If the answer contains no token, the result `failure` explains why.
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

func (a *tokenAnswer) fail(reason fault.Reason, what string) *fault.Error {
	status := fmt.Sprintf("HTTP %d", a.status)
	if a.code != "" {
		status += ", " + a.code
	}
	return fault.New(reason, fmt.Sprintf("%s %s (%s)", a.provider, what, status))
}

// parseRetryAfter reads the header Retry-After, which contains a number of seconds or a date (RFC
// 9110, section 10.2.3). A date is compared with the header Date of the same answer or, if that
// header is missing, with the wall-clock time (section 6.6.1). The returned delay is at most
// maxRetryAfter, and 0 if Retry-After is missing or cannot be parsed.
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

// decimal matches a number in the notation of JSON and most other formats.
var decimal = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// parseLifetime reads the field expires_in: a number of seconds, or a string with such a number.
// The lifetime is at most token.MaxLifetime, and negative for a negative number. If the field is
// missing, null, 0 or invalid, the lifetime is 0, because a token with an invalid lifetime can
// still be used.
func parseLifetime(raw json.RawMessage) time.Duration {
	text := strings.TrimSpace(strings.Trim(string(raw), `"`))
	if !decimal.MatchString(text) {
		return 0
	}
	seconds, _ := strconv.ParseFloat(text, 64) // the result is infinite if the number is too large for a float64
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
