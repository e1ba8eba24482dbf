package console

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// policy allows scripts, styles and requests from the console itself only, and nothing inline.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// maxBody is the maximum size of a form: the API accepts requests of 1 MiB.
const maxBody = 1 << 20

// guarded refuses requests that other sites can cause, and sets the headers that protect the pages.
func (c *Console) guarded(inner http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Frame-Options", "DENY")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "same-origin")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		if c.options.Secure {
			header.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if !c.isOwnHost(r) {
			http.Error(w, "the console has another address", http.StatusMisdirectedRequest)
			return
		}
		if err := origins.Check(r); err != nil {
			http.Error(w, "requests from pages of another site are refused", http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		inner.ServeHTTP(w, r)
	})
}

// isOwnHost reports whether the header Host names the console. Otherwise, the page of another site
// could resolve its own name to the address of the console, and read its pages.
func (c *Console) isOwnHost(r *http.Request) bool {
	if c.options.Config.URL != "" && strings.EqualFold(r.Host, c.host()) {
		return true
	}
	if c.options.Config.Address.Remote {
		return false
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}
