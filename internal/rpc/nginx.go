package rpc

import (
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/fault"
)

// NginxPath is the path of the handler for nginx.
const NginxPath = "/proxies/nginx"

// These are the names of headers between nginx and the broker. requestURIHeader has the path and the
// query of the request that nginx received, queryHeader the query of the request that nginx sends to
// the provider, and versionHeader the version of the material.
const (
	requestURIHeader = "X-Original-URI"
	queryHeader      = "Authmaterial-Query"
	versionHeader    = "Authmaterial-Version"
)

var errNginxQuery = invalid(fault.Violation{Field: "query",
	Description: "must be credential_id=ID&host=HOST and nothing else, fixed in the configuration of nginx"})

// Nginx returns a handler for nginx's auth_request. The context of each request must be from WithPeer.
// The answer has the headers of the material, by their own names, and the complete query for the
// provider in the header Authmaterial-Query.
func (s *Service) Nginx() http.Handler {
	m := s.newMethod("/nginx/auth_request", false)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.authRequest(m, w, r) })
}

func (s *Service) authRequest(m *method, w http.ResponseWriter, r *http.Request) {
	ctx, ended := s.traceHTTP(r.Context(), m.name)
	c := s.begin(ctx, m)
	decoration, err := (*broker.Decoration)(nil), error(nil)
	defer func() {
		err = c.end(err, recover())
		if err != nil {
			refuse(w, toRefusal(err))
		} else {
			permit(w, decoration, r.Header.Get(requestURIHeader))
		}
		ended(err)
	}()
	caller, err := c.beginProxy()
	if err != nil {
		return
	}
	m.Received.Inc()
	target, err := readTarget(r.URL.RawQuery)
	if err != nil {
		return
	}
	c.credentialID = target.Get(extensionCredential)
	decoration, err = s.options.Broker.GetForHost(ctx, caller, c.credentialID, target.Get(extensionHost))
}

// readTarget reads the query of a request of nginx. Parameters that a client of nginx has added, if
// nginx passes its query on, are refused.
func readTarget(rawQuery string) (url.Values, error) {
	target, err := url.ParseQuery(rawQuery)
	if err != nil || len(target) != 2 || len(target[extensionCredential]) != 1 || len(target[extensionHost]) != 1 {
		return nil, errNginxQuery
	}
	return target, nil
}

func permit(w http.ResponseWriter, d *broker.Decoration, requestURI string) {
	_, rawQuery, _ := strings.Cut(requestURI, "?")
	header := w.Header()
	for _, pair := range d.Material.Headers {
		header.Set(pair.Name, pair.Value.Reveal())
	}
	header.Set(queryHeader, replaceParams(rawQuery, d))
	header.Set(versionHeader, d.Version)
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

func refuse(w http.ResponseWriter, refused refusal) {
	header := w.Header()
	for name, value := range refused.header {
		header.Set(name, value)
	}
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(refused.status)
	_, _ = io.WriteString(w, refused.text)
}
