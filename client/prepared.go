package client

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// maxPlaces limits the headers and query parameters of a decoration, because the work for each
// request grows with their number.
const maxPlaces = 1000

// prepared is a decoration in the form in which requests need it. It is immutable, apart from
// nextUse.
type prepared struct {
	decoration *authmaterialv1.AuthDecoration
	headers    []preparedHeader
	query      string // the encoded query parameters
	hosts      []allowedHost
	usual      []string  // the allowed hosts of https URLs in their usual spellings, for a faster check
	expires    time.Time // zero if the decoration does not expire
	// nextUse is the time, in seconds since 1970, from which on the next use must be recorded. Uses
	// before that time are recorded already.
	nextUse atomic.Int64
}

type preparedHeader struct {
	name         string // in canonical form
	values       []string
	onlyIfAbsent bool
}

type allowedHost struct{ host, port string }

func prepare(decoration *authmaterialv1.AuthDecoration) (*prepared, error) {
	if len(decoration.GetHeaders())+len(decoration.GetQueryParams()) > maxPlaces {
		return nil, fmt.Errorf("the decoration has more than %d headers and query parameters: it is not from a broker", maxPlaces)
	}
	p := &prepared{decoration: decoration}
	for _, header := range decoration.GetHeaders() {
		p.headers = append(p.headers, preparedHeader{
			http.CanonicalHeaderKey(header.GetName()), []string{header.GetValue()}, header.GetOnlyIfAbsent(),
		})
	}
	var pairs []string
	for _, param := range decoration.GetQueryParams() {
		pairs = append(pairs, url.QueryEscape(param.GetName())+"="+url.QueryEscape(param.GetValue()))
	}
	p.query = strings.Join(pairs, "&")
	for _, entry := range decoration.GetAllowedHosts() {
		host := parseHost(entry)
		p.hosts = append(p.hosts, host)
		p.usual = append(p.usual, net.JoinHostPort(host.host, host.port))
		if host.port == "443" {
			p.usual = append(p.usual, strings.TrimSuffix(net.JoinHostPort(host.host, ""), ":"))
		}
	}
	if decoration.GetExpireTime() != nil {
		p.expires = decoration.GetExpireTime().AsTime()
	}
	return p, nil
}

// parseHost parses an entry of allowed_hosts. An entry without a port allows only port 443.
func parseHost(entry string) allowedHost {
	host, port, err := net.SplitHostPort(entry)
	if err != nil {
		return allowedHost{strings.Trim(entry, "[]"), "443"}
	}
	return allowedHost{host, port}
}

func (p *prepared) version() string { return p.decoration.GetVersion() }

func (p *prepared) expired(now time.Time) bool { return !p.expires.IsZero() && !now.Before(p.expires) }

// `check` returns an Error with ReasonHostNotAllowed if the request must not get the material.
func (p *prepared) check(request *http.Request) error {
	if request.URL == nil {
		return errors.New("the request has no URL")
	}
	if request.URL.Scheme == "https" && slices.Contains(p.usual, request.URL.Host) && (request.Host == "" || request.Host == request.URL.Host) {
		return nil
	}
	err := p.checkHost(request.URL)
	if err == nil && request.Host != "" && !strings.EqualFold(request.Host, request.URL.Host) {
		err = fmt.Errorf("%w: the request's Host differs from the host of its URL", ErrHostNotAllowed)
	}
	if err != nil {
		return &Error{Reason: ReasonHostNotAllowed, CredentialID: p.decoration.GetCredentialId(), cause: err}
	}
	return nil
}

func (p *prepared) checkHost(target *url.URL) error {
	host, port := strings.ToLower(target.Hostname()), target.Port()
	switch {
	case port != "":
	case target.Scheme == "https":
		port = "443"
	case target.Scheme == "http":
		port = "80"
	}
	if target.Scheme != "https" && (target.Scheme != "http" || !isLoopback(host)) {
		return fmt.Errorf("%w: the URL of %s is not https", ErrHostNotAllowed, host)
	}
	if !slices.Contains(p.hosts, allowedHost{host, port}) {
		return fmt.Errorf("%w: %s port %s is not among the allowed hosts %s", ErrHostNotAllowed, host, port, strings.Join(p.decoration.GetAllowedHosts(), ", "))
	}
	return nil
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// decorate returns a copy of a request with the material, or an error of `check`. The copy shares
// with the request what the material does not change.
func (p *prepared) decorate(request *http.Request) (*http.Request, error) {
	if err := p.check(request); err != nil {
		return nil, err
	}
	var decorated *http.Request
	if p.query == "" {
		decorated = new(http.Request)
		*decorated = *request
	} else {
		copied := &struct { // one allocation for both
			request http.Request
			url     url.URL
		}{*request, *request.URL}
		copied.url.RawQuery = p.replaceParams(copied.url.RawQuery)
		copied.request.URL = &copied.url
		decorated = &copied.request
	}
	if len(p.headers) > 0 {
		decorated.Header = p.otherHeaders(request.Header)
		p.addHeaders(decorated.Header)
	}
	return decorated, nil
}

// `without` returns a copy of a request without the headers that the material replaces.
func (p *prepared) without(request *http.Request) *http.Request {
	again := new(http.Request)
	*again = *request
	again.Header = p.otherHeaders(request.Header)
	return again
}

// otherHeaders returns a copy of headers without those that the material replaces.
func (p *prepared) otherHeaders(header http.Header) http.Header {
	others := maps.Clone(header)
	if others == nil {
		return http.Header{}
	}
	for name := range header {
		if p.replaces(name) {
			delete(others, name)
		}
	}
	return others
}

// addHeaders adds the material's headers to headers that the material does not replace.
func (p *prepared) addHeaders(others http.Header) {
	for _, header := range p.headers {
		if !header.onlyIfAbsent || !hasHeader(others, header.name) {
			others[header.name] = header.values
		}
	}
}

func hasHeader(header http.Header, name string) bool {
	for other := range header {
		if strings.EqualFold(other, name) {
			return true
		}
	}
	return false
}

func (p *prepared) replaces(name string) bool {
	for i := range p.headers {
		if strings.EqualFold(p.headers[i].name, name) && !p.headers[i].onlyIfAbsent {
			return true
		}
	}
	return false
}

// replaceParams removes the parameters with the names of the material's parameters from a query,
// and adds the material's parameters at its end. The other parameters keep their order and
// encoding.
func (p *prepared) replaceParams(rawQuery string) string {
	for _, param := range p.decoration.GetQueryParams() {
		if hasParam(rawQuery, param.GetName()) {
			rawQuery = removeParam(rawQuery, param.GetName())
		}
	}
	if rawQuery == "" {
		return p.query
	}
	return rawQuery + "&" + p.query
}

func hasParam(rawQuery, name string) bool {
	for pair := range strings.SplitSeq(rawQuery, "&") {
		if isParam(pair, name) {
			return true
		}
	}
	return false
}

func removeParam(rawQuery, name string) string {
	pairs := strings.FieldsFunc(rawQuery, func(r rune) bool { return r == '&' })
	pairs = slices.DeleteFunc(pairs, func(pair string) bool { return isParam(pair, name) })
	return strings.Join(pairs, "&")
}

func isParam(pair, name string) bool {
	key, _, _ := strings.Cut(pair, "=")
	unescaped, err := url.QueryUnescape(key)
	return err == nil && unescaped == name
}
