package authentication

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/lestrrat-go/httpcc"

	"github.com/authmaterial/broker/internal/egress"
)

const (
	// fetchTimeout is the maximum duration of one request for keys.
	fetchTimeout = 5 * time.Second
	// maxKeySet is the size of the largest accepted key set in bytes.
	maxKeySet = 1 << 20
)

// errKeyURL is the error for a URL from which no keys may be fetched. The text of errKeyURL follows
// the name of a setting, as in "url must be an https URL".
var errKeyURL = errors.New("must be an https URL with a DNS name or an IP address, a port from 1 to 65535 or none, and no user and no fragment")

// CheckKeyURL returns an error if no keys may be fetched from the URL. CheckKeyURL refuses the
// scheme http even for a loopback address.
func CheckKeyURL(text string) error {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Scheme != "https" || parsed.User != nil || strings.Contains(text, "#") ||
		!egress.IsHost(parsed.Hostname()) || !egress.IsPort(parsed.Port()) {
		return errKeyURL
	}
	return nil
}

var errStatus = errors.New("has a status other than 200")

// get requests keys, and returns a body of at most maxKeySet bytes. Redirects are not followed,
// because an answer from another URL is not the issuer's answer.
func (r *remoteKeys) get() (body []byte, header http.Header, err error) {
	if err := CheckKeyURL(r.issuer.URL); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(r.context, fetchTimeout)
	defer cancel()
	if r.issuer.AllowPrivate {
		ctx = egress.AllowPrivate(ctx)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.issuer.URL, nil)
	if err != nil {
		return nil, nil, err
	}
	answer, err := r.transport.RoundTrip(request)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, nil, errStatus
	}
	body, err = io.ReadAll(io.LimitReader(answer.Body, maxKeySet+1))
	if len(body) > maxKeySet {
		return nil, nil, errNoKeySet
	}
	return body, answer.Header, err
}

// maxAge returns how long the keys in an answer may be used according to the headers of the answer.
// maxAge returns 0 if the headers set no limit.
func maxAge(header http.Header) (age time.Duration) {
	defer func() { _ = recover() }() // the header parser panics at an empty value, as in "max-age="
	const longest = 24 * 60 * 60     // seconds
	if directives, err := httpcc.ParseResponse(header.Get("Cache-Control")); err == nil {
		if seconds, ok := directives.MaxAge(); ok {
			return time.Duration(min(seconds, longest)) * time.Second
		}
	}
	if expires, err := http.ParseTime(header.Get("Expires")); err == nil {
		return time.Until(expires)
	}
	return 0
}

// fetchFailure explains why a request for keys failed, and quotes neither an answer nor a URL.
func fetchFailure(err error) string {
	for _, known := range []error{errStatus, errNoKeySet, errNoKey} {
		if errors.Is(err, known) {
			return "the answer " + known.Error()
		}
	}
	return egress.Cause(err)
}
