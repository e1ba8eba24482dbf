package strategies

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
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
	provider *catalog.Provider
	status   int
	header   http.Header
	body     []byte
}

// fields are those of a body, by their exact names: access_token, expires_in and error
// count (RFC 6749, sections 5.1 and 5.2). Each is raw, so that an odd one does not hide
// the others.
type fields map[string]json.RawMessage

// token reads the answer. The body is JSON whatever its content type says.
func (a tokenAnswer) token(spec *catalog.TokenRequest, sentAt, now time.Time) (*token.Token, *fault.Error) {
	var found fields
	tooLarge := len(a.body) > maxAnswerSize
	parseError := json.Unmarshal(bytes.TrimPrefix(a.body, []byte("\ufeff")), &found)
	if err := a.failure(found); err != nil {
		return nil, err
	}
	switch {
	case tooLarge:
		return nil, a.unusable("more than 1 MiB")
	case len(bytes.TrimSpace(a.body)) == 0:
		return nil, a.unusable("an empty body")
	case parseError != nil:
		return nil, a.unusable("a body that is not a JSON object")
	}
	var value string
	if json.Unmarshal(found["access_token"], &value) != nil || value == "" {
		return nil, a.unusable("no access_token")
	}
	if len(value) > maxTokenSize || unfit(value) != "" {
		return nil, a.unusable("an access_token that no header can carry")
	}
	lifetime, err := parseLifetime(found["expires_in"])
	if err != nil {
		return nil, a.unusable("an expires_in that is no number of seconds")
	}
	issued := &token.Token{Value: secret.New(value), RequestedAt: sentAt, Lifetime: lifetime, EndsPrevious: spec.EndsPrevious}
	if lifetime == 0 {
		issued.Lifetime, issued.Assumed = spec.DefaultLifetime, true
	}
	if !now.Before(issued.ExpireTime()) {
		return nil, a.unusable("a token that had expired when it arrived")
	}
	return issued, nil
}

// failure returns the error that the answer stands for, or nil when it should hold a
// token.
func (a tokenAnswer) failure(found fields) *fault.Error {
	code, isError := oauthError(found["error"])
	passing := code == "temporarily_unavailable" || code == "server_error"
	switch {
	case a.status == http.StatusTooManyRequests:
		return fault.New(fault.ProviderRateLimited, a.provider.DisplayName+" answered that there are too many token requests (HTTP 429)").
			WithRetryDelay(a.retryAfter())
	case a.status/100 == 2 && !isError:
		return nil
	case a.status/100 == 3:
		return a.unavailable("answered the token request with a redirect, which is not followed", "")
	case passing, a.status == http.StatusRequestTimeout:
		return a.unavailable("could not answer the token request", code)
	case a.status/100 == 4, a.status/100 == 2, code != "":
		return fault.New(fault.CredentialRejected, a.describe("refused the credential", code))
	default:
		return a.unavailable("could not answer the token request", "")
	}
}

func (a tokenAnswer) unavailable(what, code string) *fault.Error {
	return fault.New(fault.ProviderUnavailable, a.describe(what, code)).WithRetryDelay(a.retryAfter())
}

func (a tokenAnswer) unusable(what string) *fault.Error {
	return fault.New(fault.ProviderUnavailable, fmt.Sprintf("%s answered the token request with %s (HTTP %d)", a.provider.DisplayName, what, a.status))
}

// describe says who did what, with the status and a registered error code.
func (a tokenAnswer) describe(what, code string) string {
	return fmt.Sprintf("%s %s (%s)", a.provider.DisplayName, what, strings.TrimSuffix(fmt.Sprintf("HTTP %d, %s", a.status, code), ", "))
}

// registered are the error codes that may be named: those of the IANA registry of OAuth
// errors that a token endpoint can send. Any other text is the provider's own.
var registered = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
	"invalid_scope", "invalid_target", "access_denied", "temporarily_unavailable", "server_error",
}

// oauthError says whether a body has an error, and its code when that is registered.
func oauthError(raw json.RawMessage) (code string, isError bool) {
	switch string(raw) {
	case "", "null", `""`, "false", "0", "[]", "{}":
		return "", false
	}
	if json.Unmarshal(raw, &code) != nil || !slices.Contains(registered, code) {
		return "", true
	}
	return code, true
}

// retryAfter reads the header of that name: seconds or a date (RFC 9110, section
// 10.2.3). Zero: there is none that can be used.
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
		// Counted from the provider's own clock where it says what that is.
		sent, err := http.ParseTime(a.header.Get("Date"))
		if err != nil {
			return 0
		}
		wait = date.Sub(sent)
	}
	return min(max(wait, 0), maxRetryAfter)
}

var errLifetime = errors.New("no number of seconds")

// digits are a whole number.
var digits = regexp.MustCompile(`^[0-9]+$`)

// decimal is a number in the form that JSON and most others write it.
var decimal = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// parseLifetime reads expires_in: a number or a string that holds one, in seconds.
// Missing, null or 0 is 0: the provider does not say. What exceeds token.MaxLifetime is
// that.
func parseLifetime(raw json.RawMessage) (time.Duration, error) {
	text := string(raw)
	if text == "" || text == "null" {
		return 0, nil
	}
	if raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return 0, errLifetime
		}
		text = strings.TrimSpace(text)
	}
	if !decimal.MatchString(text) {
		return 0, errLifetime
	}
	// Out of range is infinite, and that is cut below.
	seconds, _ := strconv.ParseFloat(text, 64)
	switch {
	case seconds < 0:
		return 0, errLifetime
	case seconds >= token.MaxLifetime.Seconds():
		return token.MaxLifetime, nil
	}
	if seconds > 0 && seconds < shortestLifetime.Seconds() {
		return shortestLifetime, nil // not 0, which means something else
	}
	return time.Duration(seconds * float64(time.Second)), nil
}
