package simulator

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/jsonpath"
)

// role is a use of a field that demands more of the value than any text: a certificate or a key in PEM,
// or JSON with a value at a path. If path is nil, the role is that of the whole value.
type role struct {
	path jsonpath.Path
	kind roleKind
}

type roleKind int

const (
	anyText roleKind = iota
	certificateRole
	keyRole
)

// These patterns find uses of fields in the texts of a definition. Their groups are the name of a field,
// or a field with a path of json(field, path).
const slot = `\s*(?:json\(\s*([a-z0-9_]+)\s*,\s*(?:'([^']*)'|"([^"]*)")\s*\)|([a-z][a-z0-9_]*))\s*`

var (
	jsonUse        = regexp.MustCompile(`\bjson\(\s*([a-z0-9_]+)\s*,\s*(?:'([^']*)'|"([^"]*)")\s*\)`)
	fingerprintUse = regexp.MustCompile(`\bfingerprint\(` + slot + `\)`)
	thumbprintUse  = regexp.MustCompile(`\bthumbprint\(` + slot + `\)`)
	wholeUse       = regexp.MustCompile(`^\$\{` + slot + `\}$`)
)

// rolesOf returns the roles of the fields, by field ID. The role that a value must fulfil comes last,
// if several roles have the same path.
func rolesOf(provider *catalog.Provider, method *catalog.AuthMethod) map[string][]role {
	roles := map[string][]role{}
	find := func(pattern *regexp.Regexp, text string, kind roleKind) {
		for _, found := range pattern.FindAllStringSubmatch(text, -1) {
			found = append(found, "")
			field := cmp.Or(found[1], found[4])
			path, err := jsonpath.Parse(cmp.Or(found[2], found[3]))
			if err != nil {
				path = nil
			}
			roles[field] = append(roles[field], role{path, kind})
		}
	}
	for _, text := range textsIn(provider, method) {
		find(jsonUse, text, anyText)
		find(fingerprintUse, text, keyRole)
		find(thumbprintUse, text, certificateRole)
	}
	for _, definition := range []*catalog.JWT{method.JWT, jwtOfRequest(method)} {
		if definition != nil && !definition.IsSymmetric() {
			find(wholeUse, definition.Key.String(), keyRole)
		}
	}
	if method.TokenRequest != nil {
		for _, request := range requestsOf(method.TokenRequest) {
			if certificate := request.ClientCertificate; certificate != nil {
				find(wholeUse, certificate.Certificate.String(), certificateRole)
				find(wholeUse, certificate.PrivateKey.String(), keyRole)
			}
		}
	}
	for _, list := range roles {
		slices.SortStableFunc(list, func(a, b role) int { return cmp.Compare(a.kind, b.kind) })
	}
	return roles
}

func jwtOfRequest(method *catalog.AuthMethod) *catalog.JWT {
	if method.TokenRequest == nil {
		return nil
	}
	return method.TokenRequest.JWT
}

// requestsOf returns the requests that obtain a token, in order. The token request is the last one.
func requestsOf(request *catalog.TokenRequest) (all []*catalog.Request) {
	for i := range request.First {
		all = append(all, &request.First[i].Request)
	}
	return append(all, &request.Request)
}

// textsIn returns all texts of the parts of a definition that an auth method uses.
func textsIn(provider *catalog.Provider, method *catalog.AuthMethod) (texts []string) {
	text, _ := json.Marshal([]any{provider.AllowedHosts, method}) // a definition can always be encoded
	var decoded any
	_ = json.Unmarshal(text, &decoded)
	var visit func(value any)
	visit = func(value any) {
		switch value := value.(type) {
		case string:
			texts = append(texts, value)
		case []any:
			for _, item := range value {
				visit(item)
			}
		case map[string]any:
			for _, member := range value {
				visit(member)
			}
		}
	}
	visit(decoded)
	return texts
}
