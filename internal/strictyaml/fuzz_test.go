package strictyaml_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/strictyaml"
)

// FuzzParse shows that no input makes Parse panic, that every problem has a place,
// and that every value can be asked for everything.
func FuzzParse(f *testing.F) {
	for _, source := range []string{
		"", "# a\n", "---\n...\n", "\uFEFFa: b\r\n", "a: [1, 0x2, .5, ~, true, 2020-01-01]\n", "a: &x {b: *x}\n<<: *x\n", "a: !!int '1'\nb: !x y\n",
		"a: |\n  b\nc: >-\n  d\n", "a: 'it''s'\nb: \"\\u00e9\\n\"\n", "a: b\n---\nc: d\n", "? [a]\n: b\n", "a:\n\tb\n", "%YAML 1.2\n---\na: b\n", "[[[[", "{a: {b: ",
		"credentials:\n- {id: a, provider: b, auth_method: api_key, values: {k: {env: A}}}\n",
		"credentials:\n- id: A\n  labels: {Team: x}\n  allowed_hosts: [a, a]\n  values: {k: v}\nproviders: [{rejected_statuses: [1, 1.5]}]\n",
		"listen: {grpc: 1}\ntoken_cache: {fleet_keys: []}\n", "a: 1\na: 2\n", "a: b\rc: d", "a: \x00", "\xff\xfe",
	} {
		f.Add([]byte(source))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		document := strictyaml.Parse("f", source, config)
		visit(document.Root())
		err := document.Err()
		if err == nil {
			return
		}
		var found strictyaml.Problems
		if !errors.As(err, &found) {
			t.Fatalf("Err() is a %T", err)
		}
		for _, problem := range found {
			if problem.Line < 1 || problem.Column < 1 || problem.Message == "" || strings.ContainsAny(problem.Message, "\r\n") {
				t.Errorf("%+v", problem)
			}
		}
	})
}

// visit asks a value for everything, and reports a problem at it.
func visit(value strictyaml.Value) {
	value.Problemf("here")
	value.ProblemAtf(len(value.Text())/2, "there")
	value.Key("credentials").KeyNode("a").Problemf("absent")
	_, _ = value.Int()
	_ = value.Bool()
	for _, item := range value.Items() {
		visit(item)
	}
	for _, entry := range value.Entries() {
		visit(entry.Key)
		visit(entry.Value)
	}
}
