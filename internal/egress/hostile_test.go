package egress_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/testing/peertest"
)

// mostAllocated is the largest number of bytes that the client may allocate for an answer whose
// body is not read.
const mostAllocated = 4 << 20

// TestAnswersOfAHostileProxy checks that the client reads only the header of a proxy's answer to
// CONNECT, even if the proxy sends too much data.
func TestAnswersOfAHostileProxy(t *testing.T) {
	for name, answer := range peertest.Answers() {
		t.Run(name, func(t *testing.T) {
			through := &url.URL{Scheme: "http", Host: peertest.Serve(t, answer)}
			transport := newTransport(t, egress.Options{Proxy: http.ProxyURL(through)})
			peertest.WantAllocated(t, mostAllocated, func() {
				if _, err := get(t.Context(), t, transport, "https://example.com/"); err == nil {
					t.Error("the request succeeded, want an error")
				}
			})
		})
	}
}

// TestAnswersOfAHostileServer checks HTTP/2 servers whose headers never end.
func TestAnswersOfAHostileServer(t *testing.T) {
	for name, answer := range map[string]peertest.HTTP2Answer{
		"headers without end":         peertest.HTTP2Answers()["headers without end"],
		"a header of 1 GiB":           peertest.HTTP2Answers()["a header of 1 GiB"],
		"interim answers without end": peertest.Interim,
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(nil)
			server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
			server.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
				"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) { peertest.Speak(conn, answer) },
			}
			server.StartTLS()
			t.Cleanup(server.Close)
			transport := newTransport(t, egress.Options{RootCAs: (&provider{Server: server}).roots()})
			peertest.WantAllocated(t, mostAllocated, func() {
				if _, err := get(t.Context(), t, transport, server.URL); err == nil {
					t.Error("the request succeeded, want an error")
				}
			})
		})
	}
}
