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

// maxPlaces limits the headers and query parameters of a decoration, because the work of Apply
// grows with the square of their number.
const maxPlaces = 1000

// ErrHostNotAllowed is the error of a request whose URL must not receive the material.
var ErrHostNotAllowed = errors.New("the material must not be sent to this host")

// Apply adds the headers and query parameters of a decoration to a request, in place of all
// headers and query parameters with the same names. If Apply returns an error, the request is
// unchanged.
//
// Apply returns ErrHostNotAllowed if the host in the request's URL is not one of the decoration's
// allowed hosts, if the request's field Host differs from the host in the URL, or if the URL is not
// https. Plain http is allowed only for a literal loopback address. Apply ignores the decoration's
// expire_time.
//
// Never send the decorated request with an http.Client that follows redirects, such as
// http.DefaultClient: it sends custom headers such as X-Api-Key to every host to which a provider
// redirects the request. Use Client.HTTPClient instead, or set the field CheckRedirect of the
// http.Client to a function that returns http.ErrUseLastResponse.
func Apply(request *http.Request, decoration *authmaterialv1.AuthDecoration) error {
	if request.URL == nil {
		return errors.New("the request has no URL")
	}
	if err := checkHost(request.URL, decoration.GetAllowedHosts()); err != nil {
		return err
	}
	if request.Host != "" && !strings.EqualFold(request.Host, request.URL.Host) {
		return fmt.Errorf("%w: the request's Host differs from the host of its URL", ErrHostNotAllowed)
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
	host, port := strings.ToLower(target.Hostname()), target.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[target.Scheme]
	}
	if target.Scheme != "https" && (target.Scheme != "http" || !isLoopback(host)) {
		return fmt.Errorf("%w: the URL of %s is not https", ErrHostNotAllowed, host)
	}
	if !slices.ContainsFunc(allowed, func(entry string) bool { return sameHost(entry, host, port) }) {
		return fmt.Errorf("%w: %s port %s is not among the allowed hosts %s", ErrHostNotAllowed, host, port, strings.Join(allowed, ", "))
	}
	return nil
}

// sameHost reports whether an entry of allowed_hosts allows a host and port. An entry without a
// port allows only port 443.
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

// replaceParam removes all values of a parameter from a URL query, and adds the new value at the
// end of the query. The other parameters keep their order and encoding.
func replaceParam(rawQuery, name, value string) string {
	pair := url.QueryEscape(name) + "=" + url.QueryEscape(value)
	if rest := removeParam(rawQuery, name); rest != "" {
		return rest + "&" + pair
	}
	return pair
}

func removeParam(rawQuery, name string) string {
	pairs := strings.FieldsFunc(rawQuery, func(r rune) bool { return r == '&' })
	pairs = slices.DeleteFunc(pairs, func(pair string) bool {
		key, _, _ := strings.Cut(pair, "=")
		unescaped, err := url.QueryUnescape(key)
		return err == nil && unescaped == name
	})
	return strings.Join(pairs, "&")
}
