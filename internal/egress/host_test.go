package egress_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/egress"
)

// TestHosts also checks that no request is sent to an invalid host, with or without a proxy, even
// if private addresses are allowed.
func TestHosts(t *testing.T) {
	label := strings.Repeat("a", 63)
	for _, host := range []string{"a", label + ".test", label + "." + label + "." + label + "." + label[:61], "api.example.com", "API.Example.com", "a_b.test", "1.example", "3com", "127.0.0.1.test", "0xyz", "127.0.0.1", "::1", "8.8.8.8"} {
		if !egress.IsHost(host) {
			t.Errorf("%s is refused", host)
		}
	}
	for _, host := range []string{label + "a.test", label + "." + label + "." + label + "." + label[:62], "2130706433", "0x7f000001", "0X7F000001", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0.0.1", "127.0.0.0x1", "127.0.0.0x", "1.2.3.4.5", "a.1", "256.0.0.1", "127.0.0.1.", "example.com.", "a..b", ".a", "127。0。0。1", "１２７.1", "ex ample"} {
		if egress.IsHost(host) {
			t.Errorf("%s is accepted as a host", host)
		}
		for _, proxy := range []func(*http.Request) (*url.URL, error){noProxy, http.ProxyURL(&url.URL{Scheme: "http", Host: "127.0.0.1:1"})} {
			transport := egress.NewTransport(egress.Options{Proxy: proxy})
			request := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "https", Host: host}}
			answer, err := transport.RoundTrip(request.WithContext(egress.AllowPrivate(t.Context())))
			if err == nil {
				_ = answer.Body.Close()
			}
			if !errors.Is(err, egress.ErrNoHost) {
				t.Errorf("%s: %v", host, err)
			}
		}
	}
}
