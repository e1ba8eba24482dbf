package catalog_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/publicsuffix"

	"github.com/authmaterial/broker/internal/catalog"
)

// withTemplates returns the definition of a provider with an allowed host and a URL that may use the
// fields a and b, and the value ${login.url} of an earlier answer.
func withTemplates(host, location string, anyHost bool) string {
	return "id: p\ndisplay_name: P\nallowed_hosts: [listed.example.net, " + quoted(host) + "]\n" +
		map[bool]string{true: "any_host: true\n"}[anyHost] +
		"auth_methods:\n- id: m\n  display_name: M\n" +
		"  fields: [{id: a, display_name: A, required: true}, {id: b, display_name: B, required: true}]\n" +
		"  token_request:\n    url: " + quoted(location) + "\n    body: NONE\n    client_authentication: NONE\n" +
		"    first: [{id: login, url: \"https://p.example.com/\", body: NONE, values: {url: url}}]\n" +
		"  headers: [{name: A, value: \"${token}${a}${b}\"}]\n"
}

// quoted returns a text as a string of YAML in double quotes.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(text) + `"`
}

// FuzzURL checks where a credential's secrets can be sent, whatever the definition and the values
// are.
func FuzzURL(f *testing.F) {
	for _, text := range []string{
		"https://${a}.example.com/${b}/token?x=${a}", "https://eu.${a}.example.co.uk:8443/", "https://${a}-${b}.example.com/a/${a}.${b}",
		"http://127.0.0.1:8080/${a}", "https://${a}", "https://${a}:${b}/", "${login.url}/token?${a}=${b}", "${login.url}", "https://${a}.kobe.jp/",
		"https://${a}.github.io/", "https://p.test/a//${b}/../", "https://p.test/%2e%2e/${lower(a)}", "https://${a}.EXAMPLE.com", "https://[::1]/${a + b}",
		"https://${a}?x=://b.example.com", "https://${a}.com/?://b.example.com", "https://p_q.test/${a}",
	} {
		for _, value := range []string{"acme", "acme.evil.example.org/", "..", "a/../b?c#d", "@evil.example.org", "%2e%2e", "", "é", "a:b"} {
			f.Add(strings.TrimPrefix(text, "https://"), text, value, "x.y", "https://"+value, false)
			f.Add("${a}", text, "x", value, value, true)
		}
	}
	f.Fuzz(func(t *testing.T, host, location, a, b, answered string, anyHost bool) {
		provider, err := define(withTemplates(host, location, anyHost))
		if err != nil {
			return
		}
		values := map[string]string{"a": a, "b": b, "login.url": answered}
		others := map[string]string{"a": "one", "b": "two", "login.url": "https://three.example.info"}
		checkHosts(t, provider, values, others)
		checkURL(t, provider.AuthMethods[0].TokenRequest.URL, values, others, anyHost)
	})
}

// TestUnderscoreInURL checks that a URL may have a host that is no internet name, such as that of a
// container.
func TestUnderscoreInURL(t *testing.T) {
	provider, err := define(withTemplates("p.test", "https://id_provider:8443/${a}", false))
	if err != nil {
		t.Fatal(err)
	}
	found, err := provider.AuthMethods[0].TokenRequest.URL.Evaluate(map[string]string{"a": "b"}, func(string) bool { return false })
	if err != nil || found.String() != "https://id_provider:8443/b" {
		t.Errorf("the URL is %v, %v", found, err)
	}
}

func TestControlCharactersInURL(t *testing.T) {
	for _, location := range []string{"https://p.test/${a}", "https://p.test/?x=${a}"} {
		provider, err := define(withTemplates("p.test", location, false))
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{"x\n", "\x00x", "x\u0085y"} {
			_, err := provider.AuthMethods[0].TokenRequest.URL.Evaluate(map[string]string{"a": value}, func(string) bool { return true })
			if err == nil || err.Error() != "a: the value has a line break or another control character, which is not allowed in a URL" {
				t.Errorf("%s with %q: the error is %v", location, value, err)
			}
		}
	}
}

// checkHosts checks the hosts that a provider has for two sets of values.
func checkHosts(t *testing.T, provider *catalog.Provider, values, others map[string]string) {
	t.Helper()
	const listed = "listed.example.net"
	hosts, err := provider.Hosts(values, nil)
	if err != nil {
		return
	}
	for _, host := range hosts {
		if parsed, err := url.Parse("https://" + host); err != nil || parsed.Host != host || !isPlainHost(parsed) {
			t.Errorf("%q is not a host", host)
		}
	}
	same, err := provider.Hosts(others, nil)
	if err != nil || len(hosts) < 2 || len(same) < 2 {
		return
	}
	if domain, other := domainOf(hosts[1]), domainOf(same[1]); domain != other || hosts[0] != listed {
		t.Errorf("the values determine the domain: %q or %q", domain, other)
	}
}

// checkURL checks the URLs for two sets of values.
func checkURL(t *testing.T, template *catalog.URL, values, others map[string]string, anyHost bool) {
	t.Helper()
	asked := ""
	one, err := template.Evaluate(values, func(host string) bool { asked = host; return true })
	if err != nil {
		return
	}
	parsed, err := url.Parse(one.String())
	if err != nil || !isPlainHost(parsed) || parsed.User != nil || parsed.Fragment != "" {
		t.Fatalf("%q is not a URL", one)
	}
	address, _ := netip.ParseAddr(parsed.Hostname())
	if parsed.Scheme != "https" && (parsed.Scheme != "http" || !address.IsLoopback()) {
		t.Errorf("%q is sent without TLS", one)
	}
	checkPath(t, parsed)
	if asked != "" {
		if !anyHost && !template.IsFromAnswer() {
			t.Error("the domain is not literal, although the definition does not state any_host")
		}
		if _, err := template.Evaluate(values, func(string) bool { return false }); err == nil {
			t.Error("a host was used that is not allowed")
		}
		return
	}
	other, err := template.Evaluate(others, func(string) bool { return false })
	if err != nil {
		return
	}
	if domainOf(one.Host) != domainOf(other.Host) {
		t.Errorf("the values determine the domain: %q or %q", domainOf(one.Host), domainOf(other.Host))
	}
	if strings.Count(one.EscapedPath(), "/") != strings.Count(other.EscapedPath(), "/") {
		t.Errorf("the values change the number of segments: %q and %q", one, other)
	}
	for _, delimiter := range []string{"&", "="} {
		if strings.Count(one.RawQuery, delimiter) != strings.Count(other.RawQuery, delimiter) {
			t.Errorf("the values change the number of %s: %q and %q", delimiter, one, other)
		}
	}
}

func checkPath(t *testing.T, location *url.URL) {
	t.Helper()
	segments := strings.Split(strings.TrimPrefix(location.EscapedPath(), "/"), "/")
	for i, segment := range segments {
		plain, err := url.PathUnescape(segment)
		if err != nil || plain == "." || plain == ".." || plain == "" && i < len(segments)-1 {
			t.Errorf("%q has the segment %q", location, segment)
		}
	}
}

func isPlainHost(location *url.URL) bool {
	host := location.Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host != "" && strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789-_.") == "" && !strings.Contains(host, "..")
}

// domainOf returns the domain that somebody has registered, or an address or a name without such a
// domain as it is.
func domainOf(host string) string {
	name := (&url.URL{Host: strings.ToLower(host)}).Hostname()
	if suffix, managed := publicsuffix.PublicSuffix(name); !managed && strings.Contains(suffix, ".") {
		return suffix // a company such as that of github.io has registered it
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil {
		return name
	}
	return domain
}
