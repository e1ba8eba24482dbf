package jsonbody_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/internal/jsonbody"
)

const body = ` {"a": {"b.c": [10, {"d\\": "text"}], "null": null, "": 1}, "1": true, "big": 1e400} ` + "\n"

func TestValues(t *testing.T) {
	for path, want := range map[string]any{
		"a.b\\.c.0": 10.0, `a.b\.c.1.d\\`: "text", "1": true,
	} {
		steps, err := jsonbody.ParsePath(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if steps.String() != path {
			t.Errorf("the path %s became %s", path, steps)
		}
		value, found := jsonbody.Decode([]byte(body)).Find(steps)
		if !found || !jsonbody.Equal(value, want) {
			t.Errorf("%s: %v, %v", path, value, found)
		}
		for _, other := range []any{"10", 11.0, "Text", false, "true", 1.0} {
			if jsonbody.Equal(value, other) {
				t.Errorf("%s equals %v", path, other)
			}
		}
	}
}

func TestAbsentValues(t *testing.T) {
	decoded := jsonbody.Decode([]byte(body))
	for _, path := range []string{"b", "a.c", "a.b", "a.null.x", `a.b\.c.2`, `a.b\.c.-1`, `a.b\.c.00`, `a.b\.c.+1`, `a.b\.c.x`, `a.b\.c.0.x`, "1.x"} {
		steps, err := jsonbody.ParsePath(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if value, found := decoded.Find(steps); found {
			t.Errorf("%s: %v", path, value)
		}
	}
}

// TestValuesThatEqualNothing checks values that are present, but equal no scalar.
func TestValuesThatEqualNothing(t *testing.T) {
	for _, path := range [][]string{{"a"}, {"a", "null"}, {"a", "b.c"}, {"big"}, {}} {
		value, found := jsonbody.Decode([]byte(body)).Find(path)
		if !found {
			t.Errorf("%q is absent", path)
		}
		for _, scalar := range []any{"", 0.0, false, nil} {
			if jsonbody.Equal(value, scalar) {
				t.Errorf("%q equals %v", path, scalar)
			}
		}
	}
}

func TestBodies(t *testing.T) {
	for text, want := range map[string]bool{
		"{}": true, "null": true, " 1\n": true, `"a"`: true, "": false, " ": false, "{} {}": false, "{}x": false, "{} }": false,
		"{": false, "<html>": false, "NaN": false, "\ufeff{}": false,
	} {
		decoded := jsonbody.Decode([]byte(text))
		if _, found := decoded.Find(nil); decoded.IsJSON() != want || found != want {
			t.Errorf("%q: IsJSON() = %v, want %v", text, decoded.IsJSON(), want)
		}
	}
}

func TestPathMistakes(t *testing.T) {
	for path, want := range map[string]string{
		"": "separated by dots", ".": "separated by dots", "a.": "separated by dots", ".a": "separated by dots", "a..b": "separated by dots",
		`a\`: "backslash", `a\b`: "backslash", `a\\\`: "backslash",
	} {
		steps, err := jsonbody.ParsePath(path)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", path, steps, err)
		}
	}
	steps, err := jsonbody.ParsePath(`a\.b.\\.c`)
	if diff := cmp.Diff(jsonbody.Path{"a.b", `\`, "c"}, steps); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
