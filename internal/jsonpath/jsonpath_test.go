package jsonpath_test

import (
	"testing"

	"github.com/authmaterial/broker/internal/jsonpath"
)

func TestFind(t *testing.T) {
	value, err := jsonpath.Decode([]byte(`{"a": {"b.c": [10, {"d": "x"}]}, "n": 12345678901234567890, "t": true, "o": {}, "z": null, "": 1, "\\": "back", "$": {"x[0]": "odd"}}`))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		`a.b\.c.0`: "10", `a.b\.c.1.d`: "x", "n": "12345678901234567890", "t": "true", `\\`: "back", `\$.x\[0]`: "odd", "$": "",
		"missing": "", "a.b.c": "", `a.b\.c.2`: "", `a.b\.c.-1`: "", `a.b\.c.01`: "", `a.b\.c.x`: "", "o": "", "z": "", "n.x": "",
	} {
		parsed, err := jsonpath.Parse(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if parsed.String() != path {
			t.Errorf("the path %s is shown as %s", path, parsed)
		}
		if text, ok := jsonpath.Text(parsed.Find(value)); text != want || ok != (want != "") {
			t.Errorf("%s: found %q and %v, want %q", path, text, ok, want)
		}
	}
}

func TestInvalidPaths(t *testing.T) {
	for _, path := range []string{"", ".", "a.", ".a", "a..b", `a\`, "a\n", "$.a", "$.a[0]", "a[0].b", "[0]", "a[*]", "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a"} {
		if parsed, err := jsonpath.Parse(path); err == nil {
			t.Errorf("Parse(%q) accepts %q", path, parsed)
		}
	}
}

func TestInvalidJSON(t *testing.T) {
	for _, text := range []string{"", "{", `{} {}`, `{}x`, "<html>"} {
		if _, err := jsonpath.Decode([]byte(text)); err == nil {
			t.Errorf("Decode(%q) returns no error", text)
		}
	}
}

func TestEqual(t *testing.T) {
	value, err := jsonpath.Decode([]byte(`{"n": 10.0, "s": "10", "t": true, "big": 1e400, "z": null, "o": {}}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"n": 10.0, "s": "10", "t": true, "big": "", "z": "", "o": ""} {
		found, _ := jsonpath.Path{name}.Find(value)
		for _, scalar := range []any{10.0, "10", true, 11.0, "true", false, 0.0, nil} {
			if got := jsonpath.Equal(found, scalar); got != (scalar == want) {
				t.Errorf("%s equals %v: %v", name, scalar, got)
			}
		}
	}
}
