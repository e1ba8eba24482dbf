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
	for name, location := range locations(method) {
		secret[name] = true
		for _, e := range exchanges {
			if e.Response == nil {
				continue
			}
			body, _ := jsonpath.Decode(e.Received())
			if found, ok := location.Find(e.Response.Header, e.Received(), body); ok && !isURL(method, name) {
				values[name] = found
				mask.Hide(found, "")
			}
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

// locations returns where the answers have the values that expressions use, by the names of variables.
func locations(method *catalog.AuthMethod) map[string]catalog.Location {
	all := map[string]catalog.Location{}
	request := method.TokenRequest
	if request == nil {
		return all
	}
	for _, first := range request.First {
		for name, location := range first.Values {
			all[first.ID+"."+name] = location
		}
	}
	for name, location := range request.Response.Values {
		all["response."+name] = location
	}
	all[catalog.TokenVariable] = request.Response.Token
	if next := request.Response.RefreshToken; next != nil {
		all["response "+catalog.RefreshTokenField] = *next
	}
	return all
}

// Headers returns the names of the headers of answers that the definition names.
func Headers(method *catalog.AuthMethod) (names []string) {
	for _, location := range locations(method) {
		if location.Header != "" {
			names = append(names, location.Header)
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
