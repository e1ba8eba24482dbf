package egress

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// proxyVariables name proxies. Which of the two spellings net/http prefers depends on its
// version.
var proxyVariables = []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"}

// proxySchemes are those of the proxies that net/http knows. It takes any other for http.
var proxySchemes = []string{"http", "https", "socks5", "socks5h"}

// CheckProxies returns what is wrong with the environment variables that name proxies, and
// what is probably a mistake in them. net/http ignores a variable that it does not
// understand, and requests go out directly (golang/go#46264). HTTP_PROXY is for requests
// without TLS; the broker sends those to loopback addresses alone, which have no proxy. So a
// mistake there is a warning. No value is quoted: it may contain a password.
func CheckProxies(lookup func(name string) (value string, found bool)) (problems, warnings []string) {
	https := false
	for _, name := range proxyVariables {
		value, _ := lookup(name)
		used := strings.EqualFold(name, "HTTPS_PROXY")
		https = https || value != "" && used
		problem := checkProxy(value)
		switch {
		case value == "" || problem == "":
		case used:
			problems = append(problems, fmt.Sprintf("the environment variable %s %s. Unset it if there is no proxy", name, problem))
		default:
			warnings = append(warnings, fmt.Sprintf("the environment variable %s %s. Requests to providers do not use it", name, problem))
		}
	}
	for _, name := range []string{"ALL_PROXY", "all_proxy"} {
		if value, _ := lookup(name); value != "" && !https {
			warnings = append(warnings, fmt.Sprintf("the environment variable %s is not used, and requests go out directly: set HTTPS_PROXY", name))
		}
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		value, _ := lookup(name)
		for i, entry := range strings.Split(value, ",") {
			if !exceptsHost(strings.TrimSpace(entry)) {
				warnings = append(warnings, fmt.Sprintf("the environment variable %s: entry %d excepts no host: write a host name, an IP address, a block such as 10.0.0.0/8, or * alone, with commas between them", name, i+1))
			}
		}
	}
	for _, name := range []string{"HTTPS_PROXY", "NO_PROXY"} {
		upper, _ := lookup(name)
		lower, _ := lookup(strings.ToLower(name))
		if upper != "" && lower != "" && upper != lower {
			warnings = append(warnings, fmt.Sprintf("the environment variables %s and %s differ, and only one of them is used: set one, or both to the same", name, strings.ToLower(name)))
		}
	}
	return problems, warnings
}

// checkProxy completes a sentence about a variable that does not name a proxy, and is empty
// otherwise. It reads the value as net/http does, for which a value may lack its scheme.
func checkProxy(value string) string {
	proxy, err := url.Parse(value)
	if err != nil || proxy.Scheme == "" || proxy.Host == "" {
		proxy, err = url.Parse("http://" + value)
	}
	switch {
	case err != nil, proxy.Hostname() == "", !isPort(proxy.Port()), proxy.Path != "" && proxy.Path != "/", proxy.RawQuery != "", proxy.Fragment != "":
		return "is not the address of a proxy: write http://HOST:PORT, and percent-encode special characters of a user name or password"
	case !slices.Contains(proxySchemes, proxy.Scheme):
		return "has a scheme that is not supported: use one of " + strings.Join(proxySchemes, ", ")
	}
	return ""
}

// isPort reports whether text is a port or empty.
func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && port > 0
}

// exceptsHost reports whether an entry of NO_PROXY can match a host. An empty one between two
// commas is harmless.
func exceptsHost(entry string) bool {
	if entry == "" || entry == "*" {
		return true
	}
	if strings.Contains(entry, "/") {
		_, _, err := net.ParseCIDR(entry)
		return err == nil
	}
	host := entry
	if before, port, err := net.SplitHostPort(entry); err == nil {
		if port == "" || !isPort(port) {
			return false
		}
		host = before
	}
	if net.ParseIP(host) != nil {
		return true
	}
	host = strings.TrimPrefix(strings.TrimPrefix(host, "*"), ".")
	return host != "" && !strings.ContainsAny(host, "*[]: \t\r\n;$")
}

// proxyFromEnvironment is http.ProxyFromEnvironment, but a proxy that is not understood is an
// error in place of none.
func proxyFromEnvironment(request *http.Request) (*url.URL, error) {
	if problems, _ := CheckProxies(os.LookupEnv); problems != nil {
		return nil, errors.New(problems[0])
	}
	return http.ProxyFromEnvironment(request)
}
