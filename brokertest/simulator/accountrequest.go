package simulator

import (
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/expression"
	"github.com/authmaterial/broker/internal/jsonpath"
	"github.com/authmaterial/broker/internal/pemfile"
)

// expectations are what a token request must have in addition to the request of the definition.
type expectations struct {
	parameters    map[string]string
	authorization string // the header Authorization, or empty
}

// clientExpectations returns the grant type and the client authentication of the token request.
func (a *Account) clientExpectations() expectations {
	spec, expected := a.method.TokenRequest, expectations{parameters: map[string]string{}}
	if spec.GrantType != "" {
		expected.parameters["grant_type"] = spec.GrantType
	}
	id, secret := a.values[catalog.ClientIDField], a.values[catalog.ClientSecretField]
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	switch spec.ClientAuthentication {
	case catalog.ClientInRequestBody:
		expected.parameters[catalog.ClientIDField], expected.parameters[catalog.ClientSecretField] = id, secret
	case catalog.ClientInBasic:
		expected.authorization = basic(url.QueryEscape(id), url.QueryEscape(secret))
	case catalog.ClientInBasicUnencoded:
		expected.authorization = basic(id, secret)
	case catalog.ClientUnauthenticated:
	}
	return expected
}

// isRequest reports whether a request is the one that the definition produces with the given values.
func (a *Account) isRequest(
	definition *catalog.Request, r *http.Request, body []byte, values variables, expected expectations,
) bool {
	at, err := definition.URL.Evaluate(values, a.allows)
	if err != nil || r.Method != definition.Method || !isAt(r, at) {
		return false
	}
	evaluated, _, err := expression.EvaluateValue(definition.Parameters, values)
	if err != nil {
		return false
	}
	parameters := evaluated.(map[string]any)
	for name, value := range expected.parameters {
		parameters[name] = value
	}
	query := at.Query()
	if definition.Body == catalog.BodyQuery {
		addTo(query, parameters)
	}
	got, err := url.ParseQuery(r.URL.RawQuery)
	return err == nil && reflect.DeepEqual(got, query) &&
		hasBody(definition, r, body, parameters) &&
		(expected.authorization == "" || only(r.Header.Values("Authorization")) == expected.authorization) &&
		hasPlacements(definition.Headers, values, r.Header.Values) &&
		hasCertificate(definition, r, values)
}

// hasBody reports whether the body of a request has exactly the given parameters.
func hasBody(definition *catalog.Request, r *http.Request, body []byte, parameters map[string]any) bool {
	switch definition.Body {
	case catalog.BodyJSON:
		got, err := jsonpath.Decode(body)
		return err == nil && hasContentType(definition, r, "application/json") && equalJSON(got, parameters)
	case catalog.BodyForm:
		want := url.Values{}
		addTo(want, parameters)
		got, err := url.ParseQuery(string(body))
		return err == nil && hasContentType(definition, r, "application/x-www-form-urlencoded") && reflect.DeepEqual(got, want)
	default:
		return len(body) == 0
	}
}

// hasContentType checks the content type of a request, unless the definition sets another one.
func hasContentType(definition *catalog.Request, r *http.Request, want string) bool {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return mediaType == want || slices.ContainsFunc(definition.Headers, func(header catalog.Placement) bool {
		return strings.EqualFold(header.Name, "Content-Type")
	})
}

func addTo(form url.Values, parameters map[string]any) {
	for name, value := range parameters {
		switch value := value.(type) {
		case string:
			form.Add(name, value)
		case []any:
			for _, item := range value {
				text, _ := item.(string) // the definition has only texts here
				form.Add(name, text)
			}
		}
	}
}

// equalJSON reports whether two values are equal after they are encoded.
func equalJSON(got, want any) bool {
	var decoded [2]any
	for i, value := range []any{got, want} {
		text, err := json.Marshal(value)
		if err != nil || json.Unmarshal(text, &decoded[i]) != nil {
			return false
		}
	}
	return reflect.DeepEqual(decoded[0], decoded[1])
}

// certificates returns the client certificates that the requests of the definition need.
func (a *Account) certificates() (all []*catalog.ClientCertificate) {
	for _, definition := range a.requests() {
		if definition.ClientCertificate != nil {
			all = append(all, definition.ClientCertificate)
		}
	}
	return all
}

// hasCertificate reports whether the client has presented the certificate that the definition demands.
// Only a client that has the private key can present a certificate.
func hasCertificate(definition *catalog.Request, r *http.Request, values variables) bool {
	if definition.ClientCertificate == nil {
		return true
	}
	text, _, err := definition.ClientCertificate.Certificate.Evaluate(values)
	if err != nil || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	certificates, err := pemfile.Certificates("certificate", []byte(text))
	return err == nil && certificates[0].Equal(r.TLS.PeerCertificates[0])
}
