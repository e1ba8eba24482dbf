package authentication

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/authmaterial/broker/internal/egress"
)

// keyServer is where an issuer's keys are, and how they may be fetched.
type keyServer struct {
	url          string
	roots        *x509.CertPool // nil: the system's
	allowPrivate bool
}

// errKeyURL completes a sentence about a URL, and does not quote it.
var errKeyURL = errors.New("must be an https URL, without a user and a fragment, of a DNS name or a plain IP address, and a port up to 65535 if any")

// CheckKeyURL says what is wrong with the URL of an issuer's keys. Nothing is fetched from
// one that it refuses: http is refused at loopback addresses too.
func CheckKeyURL(text string) error {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Scheme != "https" || parsed.User != nil || strings.Contains(text, "#") ||
		!egress.IsHost(parsed.Hostname()) || !isPort(parsed.Port()) {
		return errKeyURL
	}
	return nil
}

// isPort reports whether a URL's port is one; empty: that of https.
func isPort(text string) bool {
	number, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && number > 0
}

// same reports whether both are fetched alike.
func (s keyServer) same(other keyServer) bool {
	return s.url == other.url && s.allowPrivate == other.allowPrivate && s.roots.Equal(other.roots)
}

// client returns what fetches the keys, by the rules of token requests. It follows no
// redirect: an answer from elsewhere is not the issuer's.
func (s keyServer) client() *http.Client {
	var transport http.RoundTripper = egress.NewTransport(egress.Options{RootCAs: s.roots})
	if s.allowPrivate {
		transport = anywhere{transport}
	}
	return &http.Client{
		Timeout:       fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     transport,
	}
}

// anywhere sends requests to any address.
type anywhere struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (a anywhere) RoundTrip(request *http.Request) (*http.Response, error) {
	return a.RoundTripper.RoundTrip(request.WithContext(egress.AllowPrivate(request.Context())))
}
