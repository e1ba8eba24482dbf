package strategies

import (
	"errors"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/token"
)

const (
	// maxRetryAfter is the longest delay that a provider can demand in the header Retry-After.
	maxRetryAfter = 15 * time.Minute
	minLifetime   = time.Millisecond
	// milliseconds is the smallest Unix time that counts as a number of milliseconds: as seconds, it
	// would be in the year 5138.
	milliseconds = 1e11
)

// lifetime returns the lifetime of a token: at most token.MaxLifetime, and negative if the lifetime is
// negative or the token has expired. If the lifetime is missing, null, 0 or invalid, it is 0, because a
// token with an invalid lifetime can still be used. The argument `now` is a wall-clock time; if the
// answer has the header Date, that time is used instead.
func (a *tokenAnswer) lifetime(response *catalog.Response, value string, now time.Time) time.Duration {
	if sent, err := http.ParseTime(a.header.Get("Date")); err == nil {
		now = sent
	}
	switch {
	case response.TokenExpires:
		parsed, err := jwt.ParseInsecure([]byte(value))
		if err != nil {
			return 0
		}
		expires, _ := parsed.Expiration()
		return until(expires, now)
	case response.ExpiresAt != nil:
		text, _ := response.ExpiresAt.Find(a.header, a.text, a.body)
		return until(parseTime(text), now)
	default:
		text, _ := response.Lifetime.Find(a.header, a.text, a.body)
		return parseLifetime(text, response.LifetimeUnit)
	}
}

// until returns the time span until a token expires, or 0 if the time is unknown.
func until(expires, now time.Time) time.Duration {
	switch {
	case expires.IsZero():
		return 0
	case !expires.After(now):
		return -1
	default:
		return min(expires.Sub(now), token.MaxLifetime)
	}
}

// parseTime reads a time in the form of RFC 3339, or a Unix time in seconds or milliseconds. An invalid
// time is zero.
func parseTime(text string) time.Time {
	text = strings.TrimSpace(text)
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || !decimal.MatchString(text) || number <= 0 || math.IsInf(number, 0) {
		return time.Time{}
	}
	if number < milliseconds {
		number *= 1000
	}
	return time.UnixMilli(int64(min(number, 1e15)))
}

// decimal matches a number in the notation of JSON and most other formats.
var decimal = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// parseLifetime reads a number of units, with the results of the method lifetime.
func parseLifetime(text string, unit time.Duration) time.Duration {
	text = strings.TrimSpace(text)
	if !decimal.MatchString(text) {
		return 0
	}
	number, _ := strconv.ParseFloat(text, 64) // the result is infinite if the number is too large for a float64
	switch {
	case number == 0:
		return 0
	case number < 0:
		return -1
	case number >= float64(token.MaxLifetime/unit):
		return token.MaxLifetime
	default:
		return max(minLifetime, time.Duration(number*float64(unit)))
	}
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
