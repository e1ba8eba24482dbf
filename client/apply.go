// Package client helps Go services to reach the broker, and to use what it hands out. It
// imports the generated stubs, gRPC and the standard library alone.
//
// Client.HTTPClient and Client.Transport keep rules 1 to 10 of docs/calling.md for their
// users. With Apply, the user has to keep them.
package client

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// maxPlaces is the most headers and query parameters of a decoration. The work to put them on a
// request grows with the square of their number.
const maxPlaces = 1000

// ErrHostNotAllowed is the error of a request to where the material must not be sent.
var ErrHostNotAllowed = errors.New("the material must not be sent to this host")

// Apply puts the decoration on the request. Each header and each query parameter
// replaces what the request has under that name; the other parameters stay as they
// are. On an error the request is unchanged.
//
// It refuses a request to a host that is none of the decoration's allowed hosts, one whose
// field Host differs from the host of its URL, and one without https, unless its host is a
// literal loopback address. The error then is ErrHostNotAllowed. It does not look at
// expire_time.
//
// Never send the request with an http.Client that follows redirects, http.DefaultClient
// included: it sends custom headers such as X-Api-Key to every host that a redirect names.
// Use Client.HTTPClient, or set CheckRedirect to return http.ErrUseLastResponse.
func Apply(request *http.Request, decoration *authmaterialv1.AuthDecoration) error {
	if request.URL == nil {
		return errors.New("the request has no URL")
	}
	if err := checkHost(request.URL, decoration.GetAllowedHosts()); err != nil {
		return err
	}
	if request.Host != "" && !strings.EqualFold(request.Host, request.URL.Host) {
		return fmt.Errorf("%w: the request's Host is not that of its URL", ErrHostNotAllowed)
	}
	if len(decoration.GetHeaders())+len(decoration.GetQueryParams()) > maxPlaces {
		return fmt.Errorf("the decoration has more than %d headers and query parameters: it is not from a broker", maxPlaces)
	}
	if request.Header == nil {
		request.Header = http.Header{}
	}
	for _, header := range decoration.GetHeaders() {
		for name := range request.Header {
			if strings.EqualFold(name, header.GetName()) {
				delete(request.Header, name)
			}
		}
		request.Header.Set(header.GetName(), header.GetValue())
	}
	for _, param := range decoration.GetQueryParams() {
		request.URL.RawQuery = replaceParam(request.URL.RawQuery, param.GetName(), param.GetValue())
	}
	return nil
}

func checkHost(target *url.URL, allowed []string) error {
	host := strings.ToLower(target.Hostname())
	port := target.Port()
	switch {
	case target.Scheme == "https" && port == "":
		port = "443"
	case target.Scheme == "http" && port == "":
		port = "80"
	}
	if target.Scheme != "https" && (target.Scheme != "http" || !isLoopback(host)) {
		return fmt.Errorf("%w: %s is not https", ErrHostNotAllowed, host)
	}
	fits := slices.ContainsFunc(allowed, func(entry string) bool { return sameHost(entry, host, port) })
	if !fits {
		return fmt.Errorf("%w: %s port %s is none of %s", ErrHostNotAllowed, host, port, strings.Join(allowed, ", "))
	}
	return nil
}

// sameHost compares an entry of allowed_hosts, which without a port means port 443.
func sameHost(entry, host, port string) bool {
	entryHost, entryPort, err := net.SplitHostPort(entry)
	if err != nil {
		entryHost, entryPort = strings.Trim(entry, "[]"), "443"
	}
	return entryHost == host && entryPort == port
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// replaceParam sets one parameter of a raw query and leaves the others, their order and
// their encoding as they are.
func replaceParam(rawQuery, name, value string) string {
	pair := url.QueryEscape(name) + "=" + url.QueryEscape(value)
	if rest := removeParam(rawQuery, name); rest != "" {
		return rest + "&" + pair
	}
	return pair
}

// removeParam removes one parameter from a raw query.
func removeParam(rawQuery, name string) string {
	pairs := strings.FieldsFunc(rawQuery, func(r rune) bool { return r == '&' })
	pairs = slices.DeleteFunc(pairs, func(pair string) bool {
		key, _, _ := strings.Cut(pair, "=")
		unescaped, err := url.QueryUnescape(key)
		return err == nil && unescaped == name
	})
	return strings.Join(pairs, "&")
}
