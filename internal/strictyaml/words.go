package strictyaml

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// words returns what errorMessage says for a keyword of the schema at location, or
// the empty string.
func (s *Schema) words(location, keyword string) string {
	switch message := s.lookup(location)["errorMessage"].(type) {
	case string:
		if !slices.Contains([]string{"type", "required", "additionalProperties"}, keyword) {
			return message
		}
	case map[string]any:
		words, _ := message[keyword].(string)
		return words
	}
	return ""
}

// lookup returns the schema at an absolute location, or nil when it is no object.
func (s *Schema) lookup(location string) map[string]any {
	resource, fragment, _ := strings.Cut(location, "#")
	pointer, err := url.PathUnescape(fragment)
	if err != nil {
		return nil
	}
	at := s.resources[resource]
	for _, step := range strings.Split(pointer, "/")[1:] {
		in, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = in[strings.NewReplacer("~1", "/", "~0", "~").Replace(step)]
	}
	object, _ := at.(map[string]any)
	return object
}

// knownKeys returns the keys that a schema names, sorted.
func knownKeys(schema map[string]any) []string {
	properties, _ := schema["properties"].(map[string]any)
	return slices.Sorted(maps.Keys(properties))
}
