package egress_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http/httpproxy"

	"github.com/authmaterial/broker/internal/egress"
)

func lookup(name, value string) func(string) (string, bool) {
	return func(asked string) (string, bool) {
		if asked == name {
			return value, true
		}
		return "", false
	}
}

// TestProxyAddresses also checks that net/http can parse the valid values.
func TestProxyAddresses(t *testing.T) {
	names := []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"}
	for _, value := range []string{
		"", "proxy", "proxy:3128", "http://proxy", "http://proxy:3128/", "https://proxy.test:443", "socks5://proxy:1080", "socks5h://proxy",
		"http://me:p%40ss@proxy:3128", "me:pass@proxy:3128", "10.0.0.1:3128", "http://[2001:db8::1]:3128", "[::1]:3128",
	} {
		for _, name := range names {
			if problems, warnings := egress.CheckProxies(lookup(name, value)); problems != nil || warnings != nil {
				t.Errorf("%s=%s: %q, %q", name, value, problems, warnings)
			}
		}
		through, err := (&httpproxy.Config{HTTPSProxy: value}).ProxyFunc()(&url.URL{Scheme: "https", Host: "a.test"})
		if err != nil || (through == nil) != (value == "") || through != nil && through.Hostname() == "" {
			t.Errorf("%s: package httpproxy returns the proxy %v and the error %v", value, through, err)
		}
	}
	const scheme, address = "has a scheme that is not supported", "is not the address of a proxy"
	for value, want := range map[string]string{
		"http://canary:a/b@proxy:3128": address, "http://canary:%zz@proxy": address, "http://canary:pass word@proxy": address,
		"http://proxy:canary": address, "http://proxy:99999": address, "http://proxy:0": address, "http:/canary:3128": address, "//canary": address,
		" http://canary": address, "http://canary\n": address, " ": address, "http://": address, "http://${CANARY}:3128": address,
		"http://proxy/canary": address, "http://proxy?canary": address, "http://proxy#canary": address, "http://[canary]:1": address,
		"ftp://canary": scheme, "socks4://canary:1080": scheme, "socks://canary": scheme, "htps://canary:3128": scheme,
	} {
		for _, name := range names {
			reported, others := egress.CheckProxies(lookup(name, value))
			if strings.EqualFold(name, "HTTP_PROXY") { // the broker's requests do not use HTTP_PROXY
				reported, others = others, reported
			}
			if len(reported) != 1 || others != nil || !strings.HasPrefix(reported[0], "the environment variable "+name+" "+want) || strings.Contains(strings.ToLower(reported[0]), "canary") {
				t.Errorf("%s=%q: %q, %q", name, value, reported, others)
			}
		}
	}
}

func TestProxyExceptions(t *testing.T) {
	for _, value := range []string{"", "*", "a.test, .b.test,*.c.test,", "10.0.0.0/8,fd00::/8", "10.0.0.1:443", "[::1]:443", "::1", "a.test:80", "localhost"} {
		if problems, warnings := egress.CheckProxies(lookup("no_proxy", value)); problems != nil || warnings != nil {
			t.Errorf("%s: %q, %q", value, problems, warnings)
		}
	}
	for _, entry := range []string{"10.0.0.0/33", "http://canary", "canary/8", ":80", ".", "*.", "10.0.*", "canary a.test", "canary;a.test", "canary:http", "${CANARY}", "[::1]", "canary:a:b"} {
		problems, warnings := egress.CheckProxies(lookup("NO_PROXY", "a.test,"+entry))
		if problems != nil || len(warnings) != 1 || !strings.HasPrefix(warnings[0], "the environment variable NO_PROXY: entry 2 matches no host") || strings.Contains(warnings[0], "canary") {
			t.Errorf("%s: %q, %q", entry, problems, warnings)
		}
	}
	for _, name := range []string{"HTTPS_PROXY", "NO_PROXY"} {
		both := func(other string) func(string) (string, bool) {
			return func(asked string) (string, bool) {
				value, found := map[string]string{name: "canary.test", strings.ToLower(name): other}[asked]
				return value, found
			}
		}
		if problems, warnings := egress.CheckProxies(both("canary.test")); problems != nil || warnings != nil {
			t.Errorf("with the same value in %s and its lower-case form, CheckProxies returns the problems %q and the warnings %q", name, problems, warnings)
		}
		if problems, warnings := egress.CheckProxies(both("other.test")); problems != nil || len(warnings) != 1 || strings.Contains(warnings[0], "canary") {
			t.Errorf("with different values in %s and its lower-case form, CheckProxies returns the problems %q and the warnings %q", name, problems, warnings)
		}
	}
	for _, name := range []string{"ALL_PROXY", "all_proxy"} {
		if problems, warnings := egress.CheckProxies(lookup(name, "http://canary")); problems != nil || len(warnings) != 1 || strings.Contains(warnings[0], "canary") {
			t.Errorf("%s: %q, %q", name, problems, warnings)
		}
	}
}

// TestProxyThatIsNotUsed checks that an invalid HTTP_PROXY does not affect a request to a loopback
// address.
func TestProxyThatIsNotUsed(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://canary:a/b@proxy:3128")
	answering := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "answered")
	}))
	defer answering.Close()
	if answer, err := get(t.Context(), t, egress.NewTransport(egress.Options{}), answering.URL); answer != "answered" {
		t.Errorf("the answer is %q, and the error is %v", answer, err)
	}
}

// TestProxyThatIsInvalid checks that a request fails if HTTPS_PROXY is invalid, instead of going
// out without a proxy.
func TestProxyThatIsInvalid(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://canary:a/b@proxy:3128")
	names := newNames(t)
	_, err := get(t.Context(), t, egress.NewTransport(egress.Options{Resolver: names.resolver()}), "https://example.com/")
	if err == nil || !strings.Contains(err.Error(), "HTTPS_PROXY") || strings.Contains(err.Error(), "canary") {
		t.Error(err)
	}
	if names.questions() > 0 {
		t.Error("the host's name was resolved: the request would have gone out directly")
	}
}
