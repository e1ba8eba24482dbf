package proxytest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/testing/proxytest"
)

// versioned replaces the built-in Pendo by one with a header that clients may set themselves.
const versioned = `
providers:
  - id: pendo
    display_name: Pendo
    allowed_hosts: [app.pendo.io]
    auth_methods:
      - id: api_key
        display_name: Key
        fields: [{id: api_key, display_name: Key, required: true, secret: true}]
        headers:
          - {name: x-pendo-integration-key, value: "${api_key}"}
          - {name: X-Version, value: v1, only_if_absent: true}
`

// TestHeadersThatClientsMaySet sends requests with and without a header that has only_if_absent.
// Both proxies are configured as docs/proxies.md says.
func TestHeadersThatClientsMaySet(t *testing.T) {
	nginx := strings.NewReplacer(
		"    upstream pendo ", "    map $http_x_version $effective { \"\" $version; default $http_x_version; }\n    upstream pendo ",
		"            auth_request /broker/pendo;", "            auth_request /broker/pendo;\n"+
			"            auth_request_set $version $upstream_http_x_version;\n            proxy_set_header X-Version $effective;",
	)
	envoy := strings.NewReplacer(`disallowed_headers: {patterns: [{safe_regex: {regex: ".*"}}]}`, `allowed_headers: {patterns: [{exact: x-version}]}`)
	changes := map[string]func(string) string{"envoy": envoy.Replace, "nginx": nginx.Replace}
	for name, start := range proxies {
		t.Run(name, func(t *testing.T) {
			w := proxytest.New(t, func(text string) string { return text + versioned })
			last, url := received(w), start(w, changes[name])
			for _, test := range []struct{ headers, want []string }{
				{nil, []string{"v1"}},
				{[]string{"X-Version", "mine"}, []string{"mine"}},
				{[]string{"x-VERSION", "mine"}, []string{"mine"}},
			} {
				last.Store(nil)
				answer := w.Get(url+"/pendo/attack", test.headers...)
				r := last.Load()
				if r == nil {
					t.Fatalf("the status is %d, and the provider received no request", answer.Status)
				}
				if got := r.Header.Values("X-Version"); !slices.Equal(got, test.want) || r.Header.Get("X-Pendo-Integration-Key") != w.Simulator.Pendo.Key() {
					t.Errorf("with %q, the provider receives X-Version %q, want %q", test.headers, got, test.want)
				}
			}
		})
	}
}
