package client

import (
	"net/http"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// Apply adds the headers and query parameters of a decoration to a request, in place of all
// headers and query parameters with the same names. A header with only_if_absent is added only if
// the request has no header of its name. If Apply returns an error, the request is unchanged.
//
// Apply returns an Error with ReasonHostNotAllowed if the host in the request's URL is not one of
// the decoration's allowed hosts, if the request's field Host differs from the host in the URL, or
// if the URL is not https. Plain http is allowed only for a literal loopback address. Apply ignores
// the decoration's expire_time.
//
// Never send the decorated request with an http.Client that follows redirects, such as
// http.DefaultClient: it sends custom headers such as X-Api-Key to every host to which a provider
// redirects the request. Use Client.HTTPClient instead, or set the field CheckRedirect of the
// http.Client to a function that returns http.ErrUseLastResponse.
func Apply(request *http.Request, decoration *authmaterialv1.AuthDecoration) error {
	p, err := prepare(decoration)
	if err == nil {
		err = p.check(request)
	}
	if err != nil {
		return err
	}
	if request.Header == nil {
		request.Header = http.Header{}
	}
	for name := range request.Header {
		if p.replaces(name) {
			delete(request.Header, name)
		}
	}
	p.addHeaders(request.Header)
	if p.query != "" {
		request.URL.RawQuery = p.replaceParams(request.URL.RawQuery)
	}
	return nil
}
