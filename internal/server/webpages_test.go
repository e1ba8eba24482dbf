package server_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestWebPagesCannotManage sends what browsers send for web pages, and other requests that are
// refused before their caller is identified. Each test case changes a request that creates a
// credential.
func TestWebPagesCannotManage(t *testing.T) {
	m := serveSQLite(t)
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	host := func(host string) func(*http.Request) { return func(r *http.Request) { r.Host = host } }
	_, port, _ := net.SplitHostPort(m.http.Addr().String())
	for name, test := range map[string]struct {
		change func(*http.Request)
		want   int
	}{
		"an ordinary request": {func(*http.Request) {}, 200},
		"the address":         {host(m.http.Addr().String()), 200},
		"IPv6":                {host("[::1]:" + port), 200},
		"another port":        {host("localhost:1"), 200},
		"the broker's own page": {func(r *http.Request) {
			r.Host = "localhost:" + port
			set("Origin", "http://localhost:"+port)(r)
			set("Sec-Fetch-Site", "same-origin")(r)
		}, 200},
		"a charset": {set("Content-Type", "application/json; charset=utf-8"), 200},
		"GET":       {func(r *http.Request) { r.Method = http.MethodGet }, 405},
		"PUT":       {func(r *http.Request) { r.Method = http.MethodPut }, 405},
		"a preflight request": {func(r *http.Request) {
			r.Method = http.MethodOptions
			set("Origin", "http://evil.test")(r)
			set("Access-Control-Request-Method", "POST")(r)
		}, 405},
		"a private network preflight": {func(r *http.Request) {
			r.Method = http.MethodOptions
			set("Access-Control-Request-Private-Network", "true")(r)
		}, 405},
		"a form":                        {set("Content-Type", "application/x-www-form-urlencoded"), 415},
		"text":                          {set("Content-Type", "text/plain"), 415},
		"text with JSON as a parameter": {set("Content-Type", "text/plain; application/json"), 415},
		"no content type":               {func(r *http.Request) { r.Header.Del("Content-Type") }, 415},
		"gRPC":                          {set("Content-Type", "application/grpc"), 415},
		"gRPC-Web":                      {set("Content-Type", "application/grpc-web+json"), 415},
		"a stream":                      {set("Content-Type", "application/connect+json"), 415},
		"no protocol header":            {func(r *http.Request) { r.Header.Del("Connect-Protocol-Version") }, 400},
		"another protocol version":      {set("Connect-Protocol-Version", "2"), 400},
		"a foreign origin":              {set("Origin", "http://evil.test"), 403},
		"a page without an origin":      {set("Origin", "null"), 403},
		"a cross-site request":          {set("Sec-Fetch-Site", "cross-site"), 403},
		"a page at another port":        {set("Sec-Fetch-Site", "same-site"), 403},
		"the same in an older browser":  {func(r *http.Request) { r.Host = "localhost:" + port; set("Origin", "http://localhost:3000")(r) }, 403},
		"DNS rebinding": {func(r *http.Request) {
			r.Host = "evil.test:" + port
			set("Origin", "http://evil.test:"+port)(r)
			set("Sec-Fetch-Site", "same-origin")(r)
		}, 403},
		"a name that ends with ours":      {host("evil-localhost:" + port), 403},
		"a name that begins with ours":    {host("localhost.evil.test"), 403},
		"an address of another machine":   {host("192.0.2.1:" + port), 403},
		"an address that listens nowhere": {host("0.0.0.0:" + port), 403},
	} {
		id := strings.ReplaceAll(strings.ToLower(name), " ", "-")
		id = strings.NewReplacer("'", "").Replace(id)
		a := m.post("admin", credentialService+"CreateCredential", createBody(id), test.change)
		if a.code != test.want {
			t.Errorf("%s: the answer is %d %s, want %d", name, a.code, a.text, test.want)
		}
		found := m.post("admin", credentialService+"GetCredential", fmt.Sprintf(`{"credentialId": %q}`, id))
		if (found.code == 200) != (test.want == 200) {
			t.Errorf("%s: reading the credential answers %d", name, found.code)
		}
		for header := range a.header {
			if strings.HasPrefix(header, "Access-Control-") {
				t.Errorf("%s: the answer has the header %s", name, header)
			}
		}
	}
}
