package catalog

import (
	"net/http"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/expression"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// BodyFormat is how a request carries its parameters.
type BodyFormat string

// These are the supported formats of parameters.
const (
	BodyJSON  BodyFormat = "JSON"  // an object in the body
	BodyForm  BodyFormat = "FORM"  // form-encoded in the body
	BodyQuery BodyFormat = "QUERY" // in the query of the URL
	BodyNone  BodyFormat = "NONE"  // the request has no parameters
)

// Request is a request with which an auth method obtains a token.
type Request struct {
	// Method is GET, POST or PUT. A GET request has no body.
	Method string     `json:"method"`
	URL    *URL       `json:"url"`
	Body   BodyFormat `json:"body"`
	// Parameters are the parameters that the definition adds: values as in package encoding/json, in
	// which each text is an *expression.Template. Unless Body is BodyJSON, each parameter is a text or
	// a list of texts.
	Parameters map[string]any `json:"parameters,omitempty"`
	Headers    []Placement    `json:"headers,omitempty"`
	// ClientCertificate is the certificate that the broker presents to the server, or nil.
	ClientCertificate *ClientCertificate `json:"client_certificate,omitempty"`
}

// ClientCertificate is a certificate with its private key, both in PEM.
type ClientCertificate struct {
	Certificate *expression.Template `json:"certificate"`
	PrivateKey  *expression.Template `json:"private_key"`
}

// These are the keys of a request in a definition.
var requestKeys = []string{"method", "url", "body", "parameters", "headers", "client_certificate"}

// defineRequest reads the keys of a request from a mapping, which may have other keys too. Only the
// broker itself may set the reserved parameters.
func defineRequest(item yamlfile.Value, scope *scope, anyHost bool, reserved []string) Request {
	request := Request{
		Method:            http.MethodPost,
		URL:               readURL(item.Get("url"), scope, anyHost),
		Body:              BodyFormat(item.Get("body").OneOf(string(BodyJSON), string(BodyForm), string(BodyQuery), string(BodyNone))),
		Headers:           definePlacements(item.Get("headers"), scope, true),
		ClientCertificate: readClientCertificate(item.Get("client_certificate"), scope),
	}
	if method := item.Get("method").OneOf(http.MethodGet, http.MethodPost, http.MethodPut); method != "" {
		request.Method = method
	}
	if request.Method == http.MethodGet && (request.Body == BodyJSON || request.Body == BodyForm) {
		item.Get("body").Problemf("a GET request has no body: use QUERY or NONE")
	}
	if parameters := item.Get("parameters"); parameters.Exists() {
		request.Parameters = readParameters(parameters, scope, request.Body, reserved)
	}
	return request
}

func readParameters(mapping yamlfile.Value, scope *scope, format BodyFormat, reserved []string) map[string]any {
	if format == BodyNone {
		mapping.Key().Problemf("a request with the body NONE has no parameters: use JSON, FORM or QUERY")
	}
	parameters := scope.compileObject(mapping, maxNesting)
	entries, _ := mapping.Entries()
	for _, entry := range entries {
		if slices.Contains(reserved, strings.ToLower(entry.Name())) {
			entry.Key().Problemf("the broker sets the parameter %q itself", entry.Name())
		}
		if format != BodyJSON && !entry.IsString() && !isTexts(parameters[entry.Name()]) {
			entry.Problemf("must be a string or a list of strings: only a body in JSON can have other values")
		}
	}
	return parameters
}

func isTexts(value any) bool {
	list, ok := value.([]any)
	return ok && !slices.ContainsFunc(list, func(item any) bool {
		_, isText := item.(*expression.Template)
		return !isText
	})
}

func readClientCertificate(item yamlfile.Value, scope *scope) *ClientCertificate {
	if !item.Exists() {
		return nil
	}
	item.Mapping("certificate", "private_key").Requires("certificate", "private_key")
	return &ClientCertificate{
		Certificate: scope.compile(item.Get("certificate"), 1, maxParagraph),
		PrivateKey:  scope.compile(item.Get("private_key"), 1, maxParagraph),
	}
}
