package proxytest_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/testing/proxytest"
)

var token = authentication.TokenPrefix + strings.Repeat("x", 43)

// cut removes the text from the first occurrence of `from` to the next one of `to`, and puts `by` in
// its place.
func cut(t *testing.T, text, from, to, by string) string {
	t.Helper()
	before, rest, found := strings.Cut(text, from)
	_, after, ended := strings.Cut(rest, to)
	if !found || !ended {
		t.Fatalf("the configuration does not have %q and then %q", from, to)
	}
	return before + by + to + after
}

// overSocket changes the configuration of a proxy as docs/proxies.md says for a Unix socket.
var overSocket = map[string]func(*testing.T, string) string{
	"envoy": func(t *testing.T, text string) string {
		t.Helper()
		text = cut(t, text, "    - name: broker\n      type: STRICT_DNS", "\n", "    - name: broker\n      type: STATIC")
		return cut(t, text, "      transport_socket:", "    - name: sendpulse\n", "")
	},
	"nginx": func(_ *testing.T, text string) string {
		return strings.ReplaceAll(text, "https://broker/", "http://broker/")
	},
}

// newOnSockets starts a broker on Unix sockets, whose callers are known by their user.
func newOnSockets(t *testing.T, caller string) *proxytest.World {
	t.Helper()
	folder, err := os.MkdirTemp("", "proxies") // a short path, because the paths of sockets are limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return proxytest.New(t, func(text string) string {
		text = cut(t, text, "  tls:", "proxies:", "")
		return strings.NewReplacer("0.0.0.0:50051", "unix://"+folder+"/grpc.sock", "0.0.0.0:9464", "unix://"+folder+"/http.sock",
			proxy, caller).Replace(text)
	})
}

func TestProxiesOverUnixSockets(t *testing.T) {
	caller := fmt.Sprintf("uid:%d", os.Getuid())
	w := newOnSockets(t, caller)
	for name, start := range proxies {
		url := start(w, func(text string) string { return overSocket[name](t, text) })
		for _, path := range paths {
			if answer := w.Get(url + path); answer.Status != http.StatusOK {
				t.Errorf("%s: %s has the status %d", name, path, answer.Status)
			}
		}
	}
	for _, record := range w.Audit() {
		if record["caller"] != caller || record["outcome"] != "OK" {
			t.Errorf("the audit log has the caller %v with the outcome %v", record["caller"], record["outcome"])
		}
	}
}

// TestOtherUsersOnUnixSockets checks that a proxy on a Unix socket gets nothing if the grants do not
// name its user.
func TestOtherUsersOnUnixSockets(t *testing.T) {
	w := newOnSockets(t, fmt.Sprintf("uid:%d", os.Getuid()+1))
	last := received(w)
	for name, start := range proxies {
		url := start(w, func(text string) string { return overSocket[name](t, text) })
		for path, wanted := range map[string][]int{"/pendo/attack": {403}, "/pulsedive/attack": {403}, "/sendpulse/attack": {401, 403}} {
			if answer := w.Get(url + path); !slices.Contains(wanted, answer.Status) || last.Load() != nil {
				t.Errorf("%s: %s has the status %d", name, path, answer.Status)
			}
		}
	}
}

// documented returns a block of docs/proxies.md that begins with a line, indented by some spaces.
func documented(t *testing.T, line string, spaces int) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/proxies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "```yaml\n"+line+"\n")
	block, _, ended := strings.Cut(after, "```")
	if !found || !ended {
		t.Fatalf("docs/proxies.md has no block that begins with %s", line)
	}
	indented := ""
	for each := range strings.Lines(line + "\n" + block) {
		indented += strings.Repeat(" ", spaces) + each
	}
	return indented
}

func TestProxiesWithATokenInsteadOfACertificate(t *testing.T) {
	w := proxytest.New(t, func(text string) string {
		text = cut(t, text, "    client_ca_file:", "proxies:", fmt.Sprintf("authentication:\n  tokens: [{name: proxy, sha256: %x}]\n", sha256.Sum256([]byte(token))))
		return strings.Replace(text, proxy, "token:proxy", 1)
	})
	w.Write("broker.token", token+"\n")
	envoy := w.StartEnvoy(func(text string) string {
		text = cut(t, text, "            tls_certificates:", "            validation_context:", "")
		filters, secrets := documented(t, "http_filters:", 10), w.WithPaths(documented(t, "secrets:", 2))
		text = strings.Replace(text, "timeout: 10s}}\n", "timeout: 10s}}\n"+filters, 1)
		return strings.Replace(text, "  clusters:\n", secrets+"  clusters:\n", 1)
	})
	nginx := w.StartNginx(func(text string) string {
		w.Write("broker.conf", cut(t, w.Read("broker.conf"), "proxy_ssl_certificate ", "proxy_ssl_trusted_certificate", `proxy_set_header Authorization "Bearer `+token+"\";\n"))
		return text
	})
	for name, url := range map[string]string{"envoy": envoy, "nginx": nginx} {
		for _, path := range paths {
			if answer := w.Get(url+path, "Authorization", "Bearer another"); answer.Status != http.StatusOK {
				t.Errorf("%s: %s has the status %d", name, path, answer.Status)
			}
		}
	}
	for _, record := range w.Audit() {
		if record["caller"] != "token:proxy" || record["outcome"] != "OK" {
			t.Errorf("the audit log has the caller %v with the outcome %v", record["caller"], record["outcome"])
		}
	}
}

// TestNoMaterial checks the answers of the proxies while the broker has no token, and after its end.
func TestNoMaterial(t *testing.T) {
	w := proxytest.New(t, nil)
	w.Simulator.SendPulse.FailNextTokenRequests(1000, simulator.ServiceUnavailable("7"))
	envoy := w.StartEnvoy(func(text string) string { // Envoy would wait 15 seconds for a secret
		return checked(strings.Replace(text, "name: sendpulse-oauth", "name: pendo", 1))
	})
	nginx := w.StartNginx(nil)
	urls := map[string]string{"ext_authz": envoy + "/pendo/user/info", "auth_request": nginx + "/sendpulse/user/info"}
	for name, url := range urls {
		answer := w.Get(url)
		wait, err := strconv.Atoi(answer.Header.Get("Retry-After"))
		if answer.Status != http.StatusServiceUnavailable || err != nil || wait < 1 || wait > 60 ||
			answer.Header.Get("Authmaterial-Error-Reason") != "PROVIDER_UNAVAILABLE" {
			t.Errorf("%s: without material the status is %d, the header %v", name, answer.Status, answer.Header)
		}
	}
	w.Simulator.Handle("app.pendo.io/broken", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "from the provider", http.StatusInternalServerError)
	}))
	if answer := w.Get(nginx + "/pendo/broken"); answer.Status != http.StatusInternalServerError || answer.Body != "from the provider\n" {
		t.Errorf("nginx changes the provider's answer to the status %d with %q", answer.Status, answer.Body)
	}
	w.Broker.Stop(t.Context())
	for name, url := range urls {
		if answer := w.Get(url); answer.Status != http.StatusServiceUnavailable {
			t.Errorf("%s: without the broker the status is %d", name, answer.Status)
		}
	}
}
