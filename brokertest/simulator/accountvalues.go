package simulator

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/catalog"
)

// makeValues returns the values of a new account. If the required fields do not suffice for a host and
// for material, it makes values for the optional fields, too.
func makeValues(provider *catalog.Provider, method *catalog.AuthMethod, config AccountConfig) (variables, error) {
	roles := rolesOf(provider, method)
	keys, err := newKeyMaterial(method)
	if err != nil {
		return nil, err
	}
	values := variables{}
	maps.Copy(values, config.Values)
	add := func(optional bool) {
		for _, field := range method.Fields {
			if _, set := values[field.ID]; set || !field.Required && !optional {
				continue
			}
			if values[field.ID] = keys.valueOf(roles[field.ID]); values[field.ID] == "" {
				values[field.ID] = randomHex(16)
			}
		}
	}
	add(false)
	if !suffice(provider, method, values) {
		add(true)
	}
	maps.DeleteFunc(values, func(_, value string) bool { return value == "" })
	return values, nil
}

// suffice reports whether the values result in a host and in material.
func suffice(provider *catalog.Provider, method *catalog.AuthMethod, values variables) bool {
	own, _ := provider.HostsOfCustomer(values)
	_, err := provider.Hosts(values, own)
	return err == nil && slices.ContainsFunc(slices.Concat(method.Headers, method.QueryParams), func(p catalog.Placement) bool {
		_, set, err := p.Value.Evaluate(values)
		return set || err != nil // an error means that the value of a token is missing
	})
}

// valueOf returns a value that fits the roles of a field, or "" if any text fits.
func (k *keyMaterial) valueOf(roles []role) string {
	var document any
	whole := ""
	for _, role := range roles {
		if role.path != nil {
			document = insert(document, role.path, k.text(role.kind))
		} else {
			whole = k.text(role.kind)
		}
	}
	if document != nil {
		text, _ := json.Marshal(document) // Marshal cannot fail, because the document consists of texts
		return string(text)
	}
	return whole
}

// newValue returns a value for a variable of an answer to a request that precedes the token request.
func (a *Account) newValue(variable string) string {
	switch {
	case a.beginsURL(variable):
		return "https://" + a.hosts[0]
	case a.isInHost(variable):
		return a.label
	default:
		return a.secrets.keep(randomHex(16))
	}
}

// isInHost reports whether the host of a request's URL has an expression with a variable.
func (a *Account) isInHost(variable string) bool {
	return slices.ContainsFunc(a.requests(), func(definition *catalog.Request) bool {
		_, rest, _ := strings.Cut(definition.URL.String(), "://")
		host, _, _ := strings.Cut(rest, "/")
		return strings.Contains(host, variable)
	})
}

// beginsURL reports whether a request's URL begins with the value of a variable.
func (a *Account) beginsURL(variable string) bool {
	return slices.ContainsFunc(a.requests(), func(definition *catalog.Request) bool {
		expression, _, _ := strings.Cut(strings.TrimPrefix(definition.URL.String(), "${"), "}")
		return definition.URL.IsFromAnswer() && strings.TrimSpace(expression) == variable
	})
}
