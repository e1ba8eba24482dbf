package strategies

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/expression"
	"github.com/authmaterial/broker/internal/pemfile"
)

// requester makes the HTTP requests of one credential's token request.
type requester struct {
	credential *credentials.Credential
	userAgent  string
}

// makeRequest returns a request with the given variables, or the problems of its values. The
// parameters in `more` are added to those of the definition.
func (r requester) makeRequest(
	ctx context.Context, definition *catalog.Request, values map[string]string, more map[string]string,
) (*http.Request, []ValueProblem) {
	target, err := definition.URL.Evaluate(values, r.credential.AllowsHost)
	if err != nil {
		return nil, problemsOf(err)
	}
	body, contentType, err := encodeParameters(definition, target, values, more)
	if err != nil {
		return nil, problemsOf(err)
	}
	headers, problems := evaluate(definition.Headers, values, invalidHeaderValue)
	if problems != nil {
		return nil, problems
	}
	if certificate := definition.ClientCertificate; certificate != nil {
		pair, problems := keyPair(certificate, values)
		if problems != nil {
			return nil, problems
		}
		ctx = egress.WithClientCertificate(ctx, pair)
	}
	if r.credential.Method.TokenRequest.AllowPrivateAddresses {
		ctx = egress.AllowPrivate(ctx)
	}
	request, err := http.NewRequestWithContext(ctx, definition.Method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, problemsOf(errors.New("the values make a request that is not valid"))
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", r.userAgent)
	for _, header := range headers {
		request.Header.Set(header.Name, header.Value.Reveal())
	}
	return request, nil
}

// encodeParameters returns the body of a request. For the format QUERY, it adds the parameters to the
// URL instead.
func encodeParameters(
	definition *catalog.Request, target *url.URL, values map[string]string, more map[string]string,
) (body []byte, contentType string, err error) {
	evaluated, _, err := expression.EvaluateValue(definition.Parameters, values)
	if err != nil {
		return nil, "", err
	}
	parameters := map[string]any{}
	for name, value := range evaluated.(map[string]any) {
		parameters[name] = value
	}
	for name, value := range more {
		parameters[name] = value
	}
	switch definition.Body {
	case catalog.BodyJSON:
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		err := encoder.Encode(parameters)
		return bytes.TrimSpace(text.Bytes()), "application/json", err
	case catalog.BodyForm:
		return []byte(form(parameters)), "application/x-www-form-urlencoded", nil
	case catalog.BodyQuery:
		target.RawQuery = strings.Trim(target.RawQuery+"&"+form(parameters), "&")
	case catalog.BodyNone:
	}
	return nil, "", nil
}

// form encodes parameters, each of which is a text or a list of texts.
func form(parameters map[string]any) string {
	values := url.Values{}
	for name, value := range parameters {
		switch value := value.(type) {
		case string:
			values.Set(name, value)
		case []any:
			for _, item := range value {
				text, _ := item.(string)
				values.Add(name, text)
			}
		}
	}
	return values.Encode()
}

// clientParameters returns the parameters that the broker itself adds to a token request.
func (r requester) clientParameters() map[string]string {
	spec, parameters := r.credential.Method.TokenRequest, map[string]string{}
	if spec.GrantType != "" {
		parameters["grant_type"] = spec.GrantType
	}
	if spec.ClientAuthentication == catalog.ClientInRequestBody {
		parameters[catalog.ClientIDField] = r.value(catalog.ClientIDField)
		parameters[catalog.ClientSecretField] = r.value(catalog.ClientSecretField)
	}
	return parameters
}

// makeTokenRequest returns the token request itself, without the requests that come first.
func (r requester) makeTokenRequest(ctx context.Context, values map[string]string) (*http.Request, []ValueProblem) {
	spec := r.credential.Method.TokenRequest
	request, problems := r.makeRequest(ctx, &spec.Request, values, r.clientParameters())
	if problems != nil {
		return nil, problems
	}
	id, clientSecret := r.value(catalog.ClientIDField), r.value(catalog.ClientSecretField)
	switch spec.ClientAuthentication {
	case catalog.ClientInBasic:
		// RFC 6749, section 2.3.1: the client ID and the client secret must first be form-encoded.
		request.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(clientSecret))
	case catalog.ClientInBasicUnencoded:
		request.SetBasicAuth(id, clientSecret)
	case catalog.ClientInRequestBody, catalog.ClientUnauthenticated:
	}
	return request, nil
}

func (r requester) value(field string) string { return r.credential.Values[field].Reveal() }

func keyPair(definition *catalog.ClientCertificate, values map[string]string) (*tls.Certificate, []ValueProblem) {
	certificate, problems := evaluatePEM("certificate", definition.Certificate, values)
	key, more := evaluatePEM("private_key", definition.PrivateKey, values)
	if problems = append(problems, more...); problems != nil {
		return nil, problems
	}
	certificates, err := pemfile.Certificates("", []byte(certificate))
	if err != nil {
		return nil, []ValueProblem{problem(onlyField(definition.Certificate), "%s", err)}
	}
	pair, err := pemfile.KeyPair(certificates, "", []byte(key))
	if err != nil {
		return nil, []ValueProblem{problem(onlyField(definition.PrivateKey), "%s", err)}
	}
	return &pair, nil
}

func evaluatePEM(name string, template *expression.Template, values map[string]string) (string, []ValueProblem) {
	text, set, err := template.Evaluate(values)
	switch {
	case err != nil:
		return "", []ValueProblem{problem(onlyField(template), "%s", err)}
	case !set:
		return "", []ValueProblem{problem("", "the %s of the token request needs a field that is not set", name)}
	}
	return text, nil
}

// onlyField returns the only variable of a template, or "" if there is none or more than one.
func onlyField(template *expression.Template) string {
	if uses := template.Uses(); len(uses) == 1 {
		return uses[0]
	}
	return ""
}

// problemsOf returns the problem that an error of package catalog or expression describes. Such an
// error quotes no value.
func problemsOf(err error) []ValueProblem {
	if inField, ok := errors.AsType[*catalog.FieldError](err); ok {
		return []ValueProblem{problem(inField.Field, "%s", inField.Message)}
	}
	return []ValueProblem{problem("", "%s", err)}
}
