package exchange

import (
	"maps"
	"slices"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/expression"
	"github.com/authmaterial/broker/internal/jsonpath"
)

// Secrets returns a mask for the values of a credential that are not public, for the tokens and other
// values in the answers to its token requests, and for everything that the definition computes from
// these.
func Secrets(credential *credentials.Credential, exchanges []*Exchange) *Mask {
	method, mask, values := credential.Method, &Mask{}, map[string]string{}
	secret := map[string]bool{catalog.TokenVariable: true, catalog.JWTVariable: true}
	for _, field := range method.Fields {
		value := credential.Values[field.ID].Reveal()
		values[field.ID] = value
		if field.Secret || !field.SecretStated {
			secret[field.ID] = true
		}
	}
	for name, place := range places(method) {
		secret[name] = true
		for i, e := range exchanges {
			found, ok := place.find(e)
			if !ok || isURL(method, name) {
				continue
			}
			mask.Hide(found, "")
			if i == place.exchange {
				values[name] = found
			}
		}
	}
	for _, e := range exchanges {
		if name, password, ok := e.Request.BasicAuth(); ok {
			mask.Hide(name+":"+password, "")
		}
	}
	for _, template := range templates(method) {
		hideParts(mask, template, values, secret)
	}
	for _, field := range method.Fields { // last, so that a field has its own name
		if secret[field.ID] {
			mask.Hide(values[field.ID], field.ID)
		}
	}
	return mask
}

// hideParts hides the results of the expressions that use a secret.
func hideParts(mask *Mask, template *expression.Template, values map[string]string, secret map[string]bool) {
	parts := template.Parts()
	_, _ = template.EvaluateParts(values, func(number int, text string) error { // an expression that cannot be evaluated was not sent
		if part := parts[number]; part.IsExpression() && slices.ContainsFunc(part.Uses, func(name string) bool { return secret[name] }) {
			mask.Hide(text, "")
		}
		return nil
	})
}

// place is where the answers have a value that expressions use.
type place struct {
	catalog.Location
	exchange int // the index of the exchange that has the answer
}

func (p place) find(e *Exchange) (string, bool) {
	if e.Response == nil {
		return "", false
	}
	body, _ := jsonpath.Decode(e.Received())
	return p.Find(e.Response.Header, e.Received(), body)
}

// places returns the places of the values, by the names of variables.
func places(method *catalog.AuthMethod) map[string]place {
	all := map[string]place{}
	request := method.TokenRequest
	if request == nil {
		return all
	}
	for i, first := range request.First {
		for name, location := range first.Values {
			all[first.ID+"."+name] = place{location, i}
		}
	}
	last := len(request.First)
	for name, location := range request.Response.Values {
		all["response."+name] = place{location, last}
	}
	all[catalog.TokenVariable] = place{request.Response.Token, last}
	if next := request.Response.RefreshToken; next != nil {
		all["response "+catalog.RefreshTokenField] = place{*next, last}
	}
	return all
}

// Headers returns the names of the headers of answers that the definition names.
func Headers(method *catalog.AuthMethod) (names []string) {
	for _, place := range places(method) {
		if place.Header != "" {
			names = append(names, place.Header)
		}
	}
	var conditions []catalog.Condition
	if method.TokenRequest != nil {
		conditions = method.TokenRequest.Response.Refused
	}
	if method.Verification != nil {
		for _, answer := range method.Verification.Answers {
			conditions = append(conditions, answer.Condition)
		}
	}
	for _, condition := range conditions {
		names = slices.AppendSeq(names, maps.Keys(condition.Headers))
	}
	return names
}

// isURL reports whether a value of an answer is the beginning of a URL, which is no secret.
func isURL(method *catalog.AuthMethod, name string) bool {
	return slices.ContainsFunc(urls(method), func(u *catalog.URL) bool {
		return u.IsFromAnswer() && slices.Contains(u.Template().Parts()[0].Uses, name)
	})
}

func urls(method *catalog.AuthMethod) (all []*catalog.URL) {
	if request := method.TokenRequest; request != nil {
		for _, first := range request.First {
			all = append(all, first.URL)
		}
		all = append(all, request.URL)
	}
	if verification := method.Verification; verification != nil && verification.URL != nil {
		all = append(all, verification.URL)
	}
	return all
}

// templates returns all texts with expressions that are sent.
func templates(method *catalog.AuthMethod) (all []*expression.Template) {
	for _, u := range urls(method) {
		all = append(all, u.Template())
	}
	add := func(value any) { all = append(all, templatesIn(value)...) }
	add(method.Headers)
	add(method.QueryParams)
	if request := method.TokenRequest; request != nil {
		for _, first := range request.First {
			add(first.Headers)
			add(first.Parameters)
		}
		add(request.Headers)
		add(request.Parameters)
		add(request.JWT)
	}
	add(method.JWT)
	return all
}

func templatesIn(value any) (all []*expression.Template) {
	switch value := value.(type) {
	case *expression.Template:
		all = append(all, value)
	case []catalog.Placement:
		for _, placement := range value {
			all = append(all, placement.Value)
		}
	case map[string]any:
		for _, item := range value {
			all = append(all, templatesIn(item)...)
		}
	case []any:
		for _, item := range value {
			all = append(all, templatesIn(item)...)
		}
	case *catalog.JWT:
		if value != nil {
			all = append(templatesIn(value.Header), templatesIn(value.Claims)...)
		}
	}
	return all
}
