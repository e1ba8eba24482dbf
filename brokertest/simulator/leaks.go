package simulator

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Leaks counts requests that a careful client does not make. The zero value is what
// a test wants to see.
type Leaks struct {
	// RedirectsFollowed is how many requests arrived where the simulator had
	// redirected to.
	RedirectsFollowed int
	// SecretsRedirected is how many of these held a secret of the simulator's in the
	// URL, a header or the body.
	SecretsRedirected int
	// CookiesReturned is how many requests brought back a cookie of [SetCookie].
	CookiesReturned int
}

// redirectMark is a query parameter by which a request that follows a redirect is
// known.
const redirectMark = "simulator-redirected"

// maxBody is how much of a request's body is read.
const maxBody = 1 << 20

// leakCounter looks at every request for what belongs into Leaks.
type leakCounter struct {
	mu    sync.Mutex
	leaks Leaks
}

func (c *leakCounter) count() Leaks {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaks
}

func (c *leakCounter) inspect(r *http.Request, secrets *secrets) {
	var found Leaks
	if _, err := r.Cookie(cookieName); err == nil {
		found.CookiesReturned = 1
	}
	if r.URL.Query().Has(redirectMark) {
		found.RedirectsFollowed = 1
		if secrets.in(r) {
			found.SecretsRedirected = 1
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaks.RedirectsFollowed += found.RedirectsFollowed
	c.leaks.SecretsRedirected += found.SecretsRedirected
	c.leaks.CookiesReturned += found.CookiesReturned
}

// secrets are all secrets that a simulator made or was given.
type secrets struct {
	mu     sync.Mutex
	values []string
}

// keep remembers a secret and returns it.
func (s *secrets) keep(value string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values = append(s.values, value)
	return value
}

func (s *secrets) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.values)
}

// in reports whether r holds a secret, as it is or encoded for a URL or HTTP Basic.
func (s *secrets) in(r *http.Request) bool {
	var text strings.Builder
	text.WriteString(r.RequestURI)
	_ = r.Header.Write(&text)
	if user, password, ok := r.BasicAuth(); ok {
		text.WriteString(user + "\n" + password + "\n")
	}
	text.Write(peekBody(r))
	return slices.ContainsFunc(s.all(), func(secret string) bool {
		return strings.Contains(text.String(), secret) || strings.Contains(text.String(), url.QueryEscape(secret))
	})
}

// peekBody returns r's body, up to maxBody, and leaves r such that it can be read
// again. A body that breaks off ends there.
func peekBody(r *http.Request) []byte {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body
}
