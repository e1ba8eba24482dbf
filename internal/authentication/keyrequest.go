package authentication

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lestrrat-go/httpcc"

	"github.com/authmaterial/broker/internal/egress"
)

const (
	// fetchTimeout bounds one request for keys.
	fetchTimeout = 5 * time.Second
	// maxKeySet is the largest key set, in bytes.
	maxKeySet = 1 << 20
	// longestMaxAge bounds what an answer's header says, in seconds.
	longestMaxAge = 24 * 60 * 60
)

// errKeyURL completes a sentence about a URL, and does not quote it.
var errKeyURL = errors.New("must be an https URL, without a user and a fragment, of a DNS name or a plain IP address, and a port up to 65535 if any")

// CheckKeyURL returns an error unless keys may be fetched from a URL. http is refused at loopback
// addresses too.
func CheckKeyURL(text string) error {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Scheme != "https" || parsed.User != nil || strings.Contains(text, "#") || !egress.IsHost(parsed.Hostname()) {
		return errKeyURL
	}
	if port, err := strconv.ParseUint(cmp.Or(parsed.Port(), "443"), 10, 16); err != nil || port == 0 {
		return errKeyURL
	}
	return nil
}

// keySource is where the keys of an issuer are fetched from, and by which rules.
type keySource struct {
	url          string
	roots        *x509.CertPool // nil: the system's
	allowPrivate bool
}

func (s keySource) equal(other keySource) bool {
	return s.url == other.url && s.allowPrivate == other.allowPrivate && s.roots.Equal(other.roots)
}

// client returns an HTTP client by the rules of token requests. It follows no redirect: an answer
// from elsewhere is not the issuer's.
func (s keySource) client() *http.Client {
	return &http.Client{
		Timeout:       fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     egress.NewTransport(egress.Options{RootCAs: s.roots}),
	}
}

// keyAnswer is an answer with status 200.
type keyAnswer struct {
	body   []byte        // up to maxKeySet
	maxAge time.Duration // by its headers; 0: they do not say
}

var errStatus = errors.New("the status of the answer is not 200")

// get requests the keys.
func (s keySource) get(ctx context.Context, client *http.Client) (keyAnswer, error) {
	if s.allowPrivate {
		ctx = egress.AllowPrivate(ctx)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return keyAnswer{}, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return keyAnswer{}, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return keyAnswer{}, errStatus
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxKeySet+1))
	if err != nil {
		return keyAnswer{}, err
	}
	if len(body) > maxKeySet {
		return keyAnswer{}, errNoKeySet
	}
	return keyAnswer{body, maxAge(answer.Header)}, nil
}

// maxAge returns how long an answer may be used without asking again. 0: the headers do not say.
func maxAge(header http.Header) time.Duration {
	if directives, err := httpcc.ParseResponse(header.Get("Cache-Control")); err == nil {
		if seconds, ok := directives.MaxAge(); ok {
			return time.Duration(min(seconds, longestMaxAge)) * time.Second
		}
	}
	if expires, err := http.ParseTime(header.Get("Expires")); err == nil {
		return time.Until(expires)
	}
	return 0
}

// whyUnfetched returns why a request for keys failed. It does not quote the errors: they contain
// the URL.
func whyUnfetched(err error) string {
	switch {
	case errors.Is(err, errStatus):
		return errStatus.Error()
	case errors.Is(err, errNoKey), errors.Is(err, errManyKeys):
		return "the answer " + err.Error()
	case errors.Is(err, errNoKeySet):
		return "the answer holds no JSON Web Key Set of up to 1 MiB"
	default:
		return egress.Cause(err)
	}
}
