package simulator

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
)

// BodyFormat is the encoding of a token request's parameters.
type BodyFormat int

// The request's Content-Type header must name the encoding that the request uses.
const (
	AnyBody  BodyFormat = iota // AnyBody accepts JSON and forms
	JSONBody                   // JSONBody accepts application/json: a JSON object whose values are strings
	FormBody                   // FormBody accepts application/x-www-form-urlencoded
)

// ClientAuthentication is the part of a token request that must contain the client ID and secret.
type ClientAuthentication int

const (
	// InRequestBody expects the parameters client_id and client_secret in the body.
	InRequestBody ClientAuthentication = iota
	// Basic expects HTTP Basic authentication with the client ID and secret each form-urlencoded,
	// as RFC 6749 §2.3.1 requires.
	Basic
)

// TokenRules are the requirements of a token endpoint. An endpoint with the zero value accepts a
// JSON body or a form that contains the client ID and secret.
type TokenRules struct {
	Body                 BodyFormat
	ClientAuthentication ClientAuthentication
	// Parameters lists further parameters, for example scope or audience, with the values that
	// the request's body must contain.
	Parameters map[string]string
}

// clientIDKey is the context key for the client ID of the request that a Failure handles.
type clientIDKey struct{}

// tokenRequest is a parsed token request. Parts of the request that cannot be parsed are empty.
type tokenRequest struct {
	client     Client
	parameters map[string]string
	err        error // the reason why the body cannot be parsed; nil if it was parsed
}

func (e *TokenEndpoint) serve(w http.ResponseWriter, r *http.Request) {
	request := e.read(r)
	e.answer(w, r, request.client.ID, func() answer { return e.decide(request) })
}

// decide returns the answer to a token request according to RFC 6749 §5.
func (e *TokenEndpoint) decide(request tokenRequest) answer {
	switch {
	case request.err != nil:
		return e.refusal(http.StatusBadRequest, "invalid_request", request.err.Error())
	case !e.knows(request.client):
		return e.refusal(http.StatusUnauthorized, "invalid_client", "Client authentication failed")
	case request.parameters["grant_type"] != "client_credentials":
		return e.refusal(http.StatusBadRequest, "unsupported_grant_type", "the grant type is not client_credentials")
	}
	for name, value := range e.rules.Parameters {
		if request.parameters[name] != value {
			return e.refusal(http.StatusBadRequest, "invalid_request", "check the parameter "+name)
		}
	}
	return e.issue(request.client)
}

func (e *TokenEndpoint) refusal(status int, code, description string) answer {
	body := fields{"error": code, "error_description": description}
	if e.passport {
		body["message"] = description
	}
	refusal := jsonAnswer(status, body)
	if status == http.StatusUnauthorized && e.rules.ClientAuthentication == Basic {
		return refusal.with("WWW-Authenticate", `Basic realm="simulator"`)
	}
	return refusal
}

// read parses a token request, and leaves its body readable for the next reader.
func (e *TokenEndpoint) read(r *http.Request) tokenRequest {
	var request tokenRequest
	request.parameters, request.err = e.readBody(r)
	if e.rules.ClientAuthentication == Basic {
		id, secret, _ := r.BasicAuth()
		request.client.ID, _ = url.QueryUnescape(id)
		request.client.Secret, _ = url.QueryUnescape(secret)
	} else {
		request.client = Client{ID: request.parameters["client_id"], Secret: request.parameters["client_secret"]}
	}
	return request
}

func (e *TokenEndpoint) readBody(r *http.Request) (map[string]string, error) {
	body := peekBody(r)
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case mediaType == "application/json" && e.rules.Body != FormBody:
		var parameters map[string]string
		if json.Unmarshal(body, &parameters) != nil {
			return nil, errors.New("the body is not a JSON object of strings")
		}
		return parameters, nil
	case mediaType == "application/x-www-form-urlencoded" && e.rules.Body != JSONBody:
		return readForm(string(body))
	default:
		return nil, errors.New("the content type is not supported")
	}
}

// readForm parses a form, and returns an error if a parameter occurs more than once.
func readForm(body string) (map[string]string, error) {
	form, err := url.ParseQuery(body)
	if err != nil {
		return nil, errors.New("the body is not a form")
	}
	parameters := make(map[string]string, len(form))
	for name, values := range form {
		if len(values) != 1 {
			return nil, errors.New("a parameter occurs more than once")
		}
		parameters[name] = values[0]
	}
	return parameters, nil
}
