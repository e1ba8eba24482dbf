package strategies

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/secret"
	"github.com/authmaterial/broker/internal/token"
)

const (
	// maxTokenSize bounds a token, in bytes. The tokens seen so far have 0.8 to 8 KB.
	maxTokenSize = 64 << 10
	// maxRetryAfter bounds how long a provider can keep the broker from asking again.
	maxRetryAfter = 15 * time.Minute
	// shortestLifetime is what a token is believed to live at least.
	shortestLifetime = time.Millisecond
)

// tokenAnswer is what a provider sent for a token request.
type tokenAnswer struct {
	provider   *catalog.Provider
	status     int
	header     http.Header
	body       []byte
	receivedAt time.Time // by the wall clock
}

// fields are those of a body, by their exact names: access_token, expires_in and error
// count (RFC 6749, sections 5.1 and 5.2). Each is raw, so that an odd one does not hide
// the others.
type fields map[string]json.RawMessage

// token returns the token in the answer, or the failure that the answer means. The body
// is read as JSON whatever its content type is. A failure's RetryDelay is the answer's
// Retry-After, whatever the status.
func (a tokenAnswer) token(spec *catalog.TokenRequest, sentAt, now time.Time) (*token.Token, *fault.Error) {
	found, kind, code := a.read()
	failure := a.failure(kind, code)
	if failure == nil {
		var issued *token.Token
		if issued, failure = a.issued(found, spec, sentAt, now); failure == nil {
			return issued, nil
		}
	}
	return nil, failure.WithRetryDelay(a.retryAfter())
}

// read sorts the body, and returns its fields. The code is that of its error, if that is
// a registered one.
func (a tokenAnswer) read() (found fields, kind bodyKind, code string) {
	if len(a.body) > maxAnswerSize || json.Unmarshal(bytes.TrimPrefix(a.body, []byte("\ufeff")), &found) != nil || found == nil {
		return nil, foreignBody, ""
	}
	raw := found["error"]
	switch string(raw) {
	case "", "null", `""`, "false", "0", "[]", "{}":
		return found, plainBody, ""
	}
	if json.Unmarshal(raw, &code) != nil {
		return found, unregisteredBody, ""
	}
	if kind, ok := registered[code]; ok {
		return found, kind, code
	}
	if kind, ok := vendorWords[code]; ok {
		return found, kind, ""
	}
	return found, unregisteredBody, ""
}

// failure returns what the answer means, or nil if it should hold a token.
func (a tokenAnswer) failure(kind bodyKind, code string) *fault.Error {
	switch meaning := decide(a.status, kind); {
	case meaning == granted:
		return nil
	case meaning == refused:
		return fault.New(fault.CredentialRejected, a.describe("refused the credential", code))
	case meaning == limited:
		return fault.New(fault.ProviderRateLimited, a.describe("answered that there are too many token requests", code))
	case a.status/100 == 3:
		return fault.New(fault.ProviderUnavailable, a.describe("answered the token request with a redirect, which is not followed", ""))
	case a.status/100 == 2 && kind == foreignBody:
		return a.unusable(a.unreadable())
	case a.status/100 == 4 && code == "" && (kind == foreignBody || kind == plainBody):
		return a.unusable("neither a token nor an OAuth error")
	default:
		return fault.New(fault.ProviderUnavailable, a.describe("could not answer the token request", code))
	}
}

// unreadable describes a body that is no JSON object.
func (a tokenAnswer) unreadable() string {
	switch {
	case len(a.body) > maxAnswerSize:
		return "more than 1 MiB"
	case len(bytes.TrimSpace(a.body)) == 0:
		return "an empty body"
	default:
		return "a body that is not a JSON object"
	}
}

// issued returns the token in the fields of an answer that came at the time now.
func (a tokenAnswer) issued(found fields, spec *catalog.TokenRequest, sentAt, now time.Time) (*token.Token, *fault.Error) {
	var value string
	if json.Unmarshal(found["access_token"], &value) != nil || value == "" {
		return nil, a.unusable("no access_token")
	}
	if len(value) > maxTokenSize || unfit(value) != "" {
		return nil, a.unusable("an access_token that no header can carry")
	}
	lifetime, known := parseLifetime(found["expires_in"])
	switch {
	case !known:
		lifetime = spec.DefaultLifetime
	case lifetime < 0:
		return nil, a.unusable("a negative expires_in")
	}
	delay := max(0, now.Sub(sentAt))
	if delay > token.MaxDelay {
		delay = 0 // the machine slept meanwhile: the answer may be as old as the request
	}
	return &token.Token{
		Value: secret.New(value), RequestedAt: sentAt, Delay: delay,
		Lifetime: lifetime, Assumed: !known, EndsPrevious: spec.EndsPrevious,
	}, nil
}

func (a tokenAnswer) unusable(what string) *fault.Error {
	return fault.New(fault.ProviderUnavailable, a.describe("answered the token request with "+what, ""))
}

// describe returns a sentence about the provider, with the status and a registered error
// code.
func (a tokenAnswer) describe(what, code string) string {
	return fmt.Sprintf("%s %s (%s)", a.provider.DisplayName, what, strings.TrimSuffix(fmt.Sprintf("HTTP %d, %s", a.status, code), ", "))
}

// retryAfter reads the header of that name: seconds or a date (RFC 9110, section
// 10.2.3). A date is compared with the answer's own Date, or with our clock if it has none
// (section 6.6.1). Zero: there is none that can be used.
func (a tokenAnswer) retryAfter() time.Duration {
	text := strings.TrimSpace(a.header.Get("Retry-After"))
	var wait time.Duration
	if digits.MatchString(text) {
		seconds, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return maxRetryAfter // more than fits
		}
		wait = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(text); err == nil {
		sent, err := http.ParseTime(a.header.Get("Date"))
		if err != nil {
			sent = a.receivedAt
		}
		wait = date.Sub(sent)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// digits are a whole number.
var digits = regexp.MustCompile(`^[0-9]+$`)

// decimal is a number in the form that JSON and most others write it.
var decimal = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// parseLifetime reads expires_in: a number or a string that holds one, in seconds, at most
// token.MaxLifetime. It is not known if the field is missing, null, 0 or anything else: an
// odd lifetime does not spoil a good token.
func parseLifetime(raw json.RawMessage) (lifetime time.Duration, known bool) {
	text := string(raw)
	if strings.HasPrefix(text, `"`) {
		if json.Unmarshal(raw, &text) != nil {
			return 0, false
		}
		text = strings.TrimSpace(text)
	}
	if !decimal.MatchString(text) {
		return 0, false
	}
	// Out of range is infinite, and that is cut below.
	seconds, _ := strconv.ParseFloat(text, 64)
	switch {
	case seconds == 0:
		return 0, false
	case seconds < 0:
		return -1, true
	case seconds >= token.MaxLifetime.Seconds():
		return token.MaxLifetime, true
	default:
		return max(shortestLifetime, time.Duration(seconds*float64(time.Second))), true
	}
}
