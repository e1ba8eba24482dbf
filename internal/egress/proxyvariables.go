package egress

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
)

// proxySchemes are the URL schemes of proxies that net/http supports. Any other scheme is treated
// as http by net/http.
var proxySchemes = []string{"http", "https", "socks5", "socks5h"}

// CheckProxies checks the environment variables that name proxies, and returns problems and
// warnings about probable mistakes. CheckProxies never quotes the value of a variable, which may
// contain a password.
//
// A proxy that net/http cannot parse is a problem, because net/http ignores it and sends requests
// without a proxy (golang/go#46264). A mistake in HTTP_PROXY is only a warning, because HTTP_PROXY
// is for requests without TLS, which the broker sends only to loopback addresses and without a
// proxy.
func CheckProxies(lookup func(name string) (value string, found bool)) (problems, warnings []string) {
	value := func(name string) string {
		text, _ := lookup(name)
		return text
	}
	warn := func(format string, parts ...any) { warnings = append(warnings, fmt.Sprintf(format, parts...)) }
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		problem := checkProxy(value(name))
		switch {
		case problem == "":
		case strings.EqualFold(name, "HTTPS_PROXY"):
			problems = append(problems,
				fmt.Sprintf("the environment variable %s %s. Unset the variable if there is no proxy", name, problem))
		default:
			warn("the environment variable %s %s. Requests to providers do not use this variable", name, problem)
		}
	}
	for _, name := range []string{"ALL_PROXY", "all_proxy"} {
		if value(name) != "" && value("HTTPS_PROXY") == "" && value("https_proxy") == "" {
			warn("the environment variable %s is not used, and requests go out directly: set HTTPS_PROXY", name)
		}
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		for i, entry := range strings.Split(value(name), ",") {
			if !exceptsHost(strings.TrimSpace(entry)) {
				warn("the environment variable %s: entry %d matches no host. "+
					"Write host names, IP addresses or blocks such as 10.0.0.0/8, with commas between them, or * alone", name, i+1)
			}
		}
	}
	for _, name := range []string{"HTTPS_PROXY", "NO_PROXY"} {
		upper, lower := value(name), value(strings.ToLower(name))
		if upper != "" && lower != "" && upper != lower {
			warn("the environment variables %s and %s differ, and only one of them is used. "+
				"Set only one of them, or give both the same value", name, strings.ToLower(name))
		}
	}
	return problems, warnings
}

// checkProxy returns "" if a value is a valid proxy. Otherwise, it returns the problem, as words
// that can end a sentence. As in net/http, the URL scheme may be missing.
func checkProxy(value string) string {
	if value == "" {
		return ""
	}
	proxy, err := url.Parse(value)
	if err != nil || proxy.Scheme == "" || proxy.Host == "" {
		proxy, err = url.Parse("http://" + value)
	}
	switch {
	case err != nil, proxy.Hostname() == "", !IsPort(proxy.Port()), proxy.Path != "" && proxy.Path != "/",
		proxy.RawQuery != "", proxy.Fragment != "":
		return "is not the address of a proxy: write http://HOST:PORT, " +
			"and percent-encode special characters of a user name or password"
	case !slices.Contains(proxySchemes, proxy.Scheme):
		return "has a scheme that is not supported: use one of " + strings.Join(proxySchemes, ", ")
	}
	return ""
}

// exceptsHost reports whether an entry of the variable NO_PROXY can match a host. An empty entry is
// accepted too: it matches no host, but is harmless.
func exceptsHost(entry string) bool {
	if strings.Contains(entry, "/") {
		_, _, err := net.ParseCIDR(entry)
		return err == nil
	}
	host, port, err := net.SplitHostPort(entry)
	if err != nil {
		host = entry
	} else if port == "" || !IsPort(port) {
		return false
	}
	host = strings.TrimPrefix(strings.TrimPrefix(host, "*"), ".")
	isHost := host != "" && !strings.ContainsAny(host, "*[]: \t\r\n;$")
	return entry == "" || entry == "*" || isHost || net.ParseIP(host) != nil
}

// proxyFromEnvironment is like http.ProxyFromEnvironment, but returns an error where net/http would
// ignore an invalid variable.
func proxyFromEnvironment(request *http.Request) (*url.URL, error) {
	if problems, _ := CheckProxies(os.LookupEnv); problems != nil {
		return nil, errors.New(problems[0])
	}
	return http.ProxyFromEnvironment(request)
}
