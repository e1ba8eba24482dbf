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

// Leaks counts requests that a careful client does not send. Tests usually check that all counts
// are zero.
type Leaks struct {
	// RedirectsFollowed is the number of requests to the target of a redirect.
	RedirectsFollowed int
	// SecretsRedirected is the number of requests that followed a redirect and contained a secret
	// of the simulator, in the URL, a header or the body.
	SecretsRedirected int
	// CookiesReturned is the number of requests with the cookie that [SetCookie] sends.
	CookiesReturned int
}

// redirectMark is a query parameter in the target URL of every redirect. The parameter marks the
// requests that follow a redirect.
const redirectMark = "simulator-redirected"

const maxBody = 1 << 20

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

// secrets lists the secrets that a simulator created, or that a test added to it.
type secrets struct {
	mu     sync.Mutex
	values []string
}

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

// A secret may be in plain text, or encoded for a URL or for HTTP Basic authentication.
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

// peekBody returns at most maxBody bytes of the request's body, and makes the body readable
// again.
func peekBody(r *http.Request) []byte {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body
}
