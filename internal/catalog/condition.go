package catalog

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/authmaterial/broker/internal/jsonpath"
	"github.com/authmaterial/broker/internal/yamlfile"
)

// Condition describes answers of a provider. An answer matches a condition if it matches all of its
// parts.
type Condition struct {
	// Statuses are HTTP statuses from 200 to 599, of which the answer has one. If Statuses is empty,
	// every status matches.
	Statuses []int `json:"statuses,omitempty"`
	// Headers are the values that headers of the answer must have, by the headers' names. The values
	// of a header with several values are joined by a comma and a space.
	Headers map[string]string `json:"headers,omitempty"`
	// JSON describes members of the answer's body. If JSON is nil, every body matches. If JSON is
	// empty but not nil, every body in JSON matches.
	JSON Members `json:"json,omitzero"`
}

// Members are conditions for a body in JSON.
type Members []Member

// Member is a condition for one value in a body in JSON.
type Member struct {
	Path jsonpath.Path
	// Value is a string, a float64 or a bool.
	Value any
	// Not reverses the condition: the value must be present, and differ from Value.
	Not bool
}

// MarshalJSON returns the members in the form of the definition.
func (m Members) MarshalJSON() ([]byte, error) {
	definition := map[string]any{}
	for _, member := range m {
		value := member.Value
		if member.Not {
			value = map[string]any{"not": value}
		}
		definition[member.Path.String()] = value
	}
	return marshal(definition)
}

// Matches reports whether an answer matches the condition. The body is the result of
// jsonpath.Decode; isJSON is false if Decode returned an error.
func (c Condition) Matches(status int, header http.Header, body any, isJSON bool) bool {
	if len(c.Statuses) > 0 && !slices.Contains(c.Statuses, status) {
		return false
	}
	for name, value := range c.Headers {
		if strings.Join(header.Values(name), ", ") != value {
			return false
		}
	}
	return c.JSON == nil || isJSON && !slices.ContainsFunc(c.JSON, func(member Member) bool {
		value, found := member.Path.Find(body)
		return !found || jsonpath.Equal(value, member.Value) == member.Not
	})
}

// These are the keys of a condition in a definition.
var conditionKeys = []string{"statuses", "headers", "json"}

// defineCondition reads the keys of a condition from a mapping, which may have other keys too.
func defineCondition(item yamlfile.Value) Condition {
	condition := Condition{Headers: readHeaders(item.Get("headers")), JSON: readMembers(item.Get("json"))}
	if list := item.Get("statuses"); list.Exists() {
		condition.Statuses = readStatuses(list, 1, http.StatusOK)
	}
	if !item.Get("statuses").Exists() && len(condition.Headers) == 0 && condition.JSON == nil {
		item.Problemf("matches every answer: add statuses, headers or json")
	}
	return condition
}

func readHeaders(mapping yamlfile.Value) map[string]string {
	var headers map[string]string
	names := yamlfile.Unique{}
	for _, entry := range readEntries(mapping) {
		name := entry.Key().Text(maxLine)
		if name != "" && !httpguts.ValidHeaderFieldName(name) {
			entry.Key().Problemf("this is not a name of an HTTP header: use letters, digits and hyphens")
		}
		names.Check(entry.Key(), strings.ToLower(name), "name")
		value := entry.Text(yamlfile.MaxText)
		// HTTP clients decode other characters in several ways.
		isOther := func(char rune) bool { return char < ' ' || char > '~' }
		if strings.ContainsFunc(value, isOther) || strings.TrimSpace(value) != value {
			entry.Problemf("must consist of visible ASCII characters and spaces, without a space at either end")
		}
		if headers == nil {
			headers = map[string]string{}
		}
		headers[name] = value
	}
	return headers
}

// readMembers returns nil if the mapping is absent.
func readMembers(mapping yamlfile.Value) Members {
	if !mapping.Exists() {
		return nil
	}
	members := Members{}
	for _, entry := range readEntries(mapping) {
		path, err := jsonpath.Parse(entry.Key().Text(yamlfile.MaxText))
		if err != nil {
			entry.Key().Problemf("%s", err)
		}
		member := Member{Path: path}
		if entry.IsMapping() {
			entry.Mapping("not").Requires("not")
			entry, member.Not = entry.Get("not"), true
		}
		member.Value = entry.Scalar()
		members = append(members, member)
	}
	return members
}

func readEntries(mapping yamlfile.Value) []yamlfile.Value {
	entries, _ := mapping.Entries()
	if len(entries) > 20 {
		mapping.Problemf("must have at most 20 keys")
	}
	return entries
}
