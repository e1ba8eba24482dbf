package console

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
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
			http.Error(w, "this is not the console's address: open "+c.URL(), http.StatusMisdirectedRequest)
			return
		}
		if origins.Check(r) != nil || !isOwnRequest(r) {
			http.Error(w, "requests from pages of another site are refused: open the address of the console in a new tab", http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		defer c.recovered(w, r)
		inner.ServeHTTP(w, r)
	})
}

// recovered answers a request whose handler has panicked. It logs the stack, but not the value of the
// panic, which could contain secrets.
func (c *Console) recovered(w http.ResponseWriter, r *http.Request) {
	if cause := recover(); cause != nil {
		c.options.Logger.LogAttrs(r.Context(), slog.LevelError, "panic in the console",
			slog.String("type", fmt.Sprintf("%T", cause)), slog.String("stack", string(debug.Stack())))
		http.Error(w, "something went wrong: the broker's log has the reason", http.StatusInternalServerError)
	}
}

// isOwnHost reports whether the header Host names the console. Without this check, another site could
// make its own name resolve to the address of the console, and then read the pages of the console.
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

// isOwnRequest reports whether the cause of a request is a page of the console, or a person who typed the
// address or followed a link. Pages of other sites may only link to the console: they cannot load its
// pages as images, scripts, frames or data. Servers on other ports of this machine count as other sites.
func isOwnRequest(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	}
	return r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}
