package strictyaml_test

import (
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/strictyaml"
)

const (
	anchorRefused = "anchors and aliases are not allowed: write the value out, or put a text that begins with & or * in quotes"
	tagRefused    = "a tag is not allowed: put a text that begins with ! in quotes"
	mergeRefused  = "merge keys (<<) are not allowed: write the entries out"
	directive     = "a directive (a line that begins with %) cannot be used here: remove it"
	colon         = "a colon cannot stand here: check the indentation, or put the text in quotes"
	empty         = `f:1:1: the file is empty: expected a mapping with "credentials"`
)

func TestEmpty(t *testing.T) {
	for _, source := range []string{"", "\n\n", "# a comment\n", "---\n", "\uFEFF", "---\n# a comment\n...\n", " "} {
		document := strictyaml.Parse("f", []byte(source), config)
		checkProblems(t, document, empty)
		if document.Root().Exists() {
			t.Errorf("%q has a root", source)
		}
	}
	checkProblems(t, strictyaml.Parse("f", nil, nil), "f:1:1: the file is empty")
	checkProblems(t, strictyaml.Parse("f", nil, compile(`{"properties": {"b": true, "a": true}}`)),
		`f:1:1: the file is empty: expected a mapping with "a", "b"`)
	checkProblems(t, strictyaml.Parse("f", nil, compile(`{"type": "array"}`)), "f:1:1: the file is empty")
	checkProblems(t, strictyaml.Parse("f", []byte("~"), config), "f:1:1: must be a mapping, and is empty")
}

// TestBytes has files that are refused before they are read as YAML.
func TestBytes(t *testing.T) {
	tests := []struct{ name, source, want string }{
		{"latin 1", "a: é\nb: \xe9\n", "f:2:4: the file is not UTF-8 from here on: save it as UTF-8"},
		{"UTF-16", "\xff\xfea\x00", "f:1:1: the file is not UTF-8 from here on: save it as UTF-8"},
		{"UTF-16 without a mark", "a\x00:\x00", "f:1:2: a NUL byte: save the file as UTF-8"},
		{"surrogate", "a: \xed\xa0\x80\n", "f:1:4: the file is not UTF-8 from here on: save it as UTF-8"},
		{"NUL", "a: b\nc: é\x00\n", "f:2:5: a NUL byte: save the file as UTF-8"},
		{"CR alone", "a: b\rc: d\r", "f:1:5: a carriage return without a line feed: end the lines with LF or CR LF"},
		{"CR at the end", "a: b\r\nc: d\r", "f:2:5: a carriage return without a line feed: end the lines with LF or CR LF"},
		{"control", "a: \"\x1b\"\n", "f:1:5: a control character: write it as an escape in double quotes"},
		{"DEL", "a: \x7f\n", "f:1:4: a control character: write it as an escape in double quotes"},
		{"next line", "a: \u0085\n", "f:1:4: a control character: write it as an escape in double quotes"},
		{"line separator", "a: b\u2028c\n",
			"f:1:5: a line separator that is no line feed: remove it, or write it as an escape in double quotes"},
		{"byte order mark inside", "a: b\n\uFEFFc: d\n", "f:2:1: a byte order mark inside the file: remove it"},
		{"noncharacter", "a: \uFFFF\n", "f:1:4: no character of Unicode: remove it"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			document := strictyaml.Parse("f", []byte(test.source), config)
			checkProblems(t, document, test.want)
			document.Root().Key("a").Problemf("follows from that")
			checkProblems(t, document, test.want)
		})
	}
}

func TestSize(t *testing.T) {
	const limit = 64 << 20
	source := make([]byte, limit+1)
	checkProblems(t, strictyaml.Parse("f", source, nil), "f:1:1: the file is larger than 64 MiB")
	checkProblems(t, strictyaml.Parse("f", source[:limit], nil), "f:1:1: a NUL byte: save the file as UTF-8")
}

func TestLineEndsAndByteOrderMark(t *testing.T) {
	source := "\uFEFFa: é\r\nb:\r\n  c: 1\r\n"
	document := strictyaml.Parse("f", []byte(source), nil)
	document.Root().KeyNode("a").Problemf("one")
	document.Root().Key("b").Key("c").Problemf("two")
	checkProblems(t, document, "f:1:1: one", "f:3:6: two")
}

// TestSyntax has what the parser cannot read: one problem each.
func TestSyntax(t *testing.T) {
	tests := []struct{ name, source, want string }{
		{"tab that indents", "a:\n\tb: 1\n", "2:1: a tab cannot stand here: indent with spaces"},
		{"tab in a continued scalar", "a: b\n\tc: d\n", "2:1: a tab cannot stand here: indent with spaces"},
		{"tab in a block of text", "a: |\n x\n\ty\n", "3:1: a tab cannot stand here: indent with spaces"},
		{"character that begins nothing", "a: @b\n", "1:4: a value cannot begin with this character: put it in quotes"},
		{"no colon", "a: 1\nbcd\ne: 2\n", "2:1: a key needs a colon and a space after it"},
		{"two colons", "é: ü: x\n", "1:5: " + colon},
		{"indented key", "a: 1\n b: 2\n", "2:3: " + colon},
		{"dedented key", "a:\n  - 1\n b: 2\n", "3:2: a key is expected here: check the indentation and the quotes"},
		{"key after items", "- 1\nb: 2\n", "2:1: a list item is expected here: check the indentation"},
		{"item after a key", "a: - b\n", "1:4: a list item cannot stand here: begin a line with it, or put the text in quotes"},
		{"key in a value", "a: ? b\n", "1:4: a key cannot stand here: check the indentation"},
		{"text after quotes", "a: 'b' 'c'\n", "1:8: a key is expected here: check the indentation and the quotes"},
		{"open list", "a: [1,\n  2\nb: 3\n", "3:2: a comma or ] is expected here: the [ in line 1 is not closed"},
		{"open mapping", "a: {b: 1\n", "2:1: a comma or } is expected here: the { in line 1 is not closed"},
		{"no item", "a: [b, , c]\n", "1:8: a value is expected here"},
		{"open quotes", "a: b\nc: 'd\ne: f\n", "2:4: the quotes that begin here are never closed"},
		{"open quotes in a document", "c: \"d\n---\n", "1:4: the quotes that begin here are not closed before the document ends"},
		{"escape", "a: \"b\\qc\"\n", `1:6: there is no such escape: write \\ for a backslash, or use single quotes`},
		{"escape without digits", "a: \"\\xZZ\"\n", "1:7: the escape needs hexadecimal digits"},
		{"escaped surrogate", "a: \"\\ud800\"\n", "1:7: the escape is no character of Unicode"},
		{"comment", "a: 'x'#c\n", "1:7: a comment needs a space before its #"},
		{"head of a block of text", "a: |3x\n  b\n", "1:4: after | or > there can be a digit, + and -, and nothing else on that line"},
		{"root that goes on", "{a: 1}\nb: 2\n", "2:1: does not belong to what is above: check the indentation"},
		{"text after the end", "a: 1\n... b\n", "2:5: nothing can stand here, after the end of the document"},
		{"unknown directive", "%FOO\n---\na: 1\n", "1:1: " + directive},
		{"YAML 3", "%YAML 3.0\n---\na: 1\n", "1:1: " + directive},
		{"two directives", "%YAML 1.2\n%YAML 1.2\n---\na: 1\n", "1:1: " + directive},
		{"late directive", "a: 1\n%YAML 1.2\n---\n", "2:1: " + directive},
		{"open tag", "a: !<x\n", "1:4: " + tagRefused},
		{"undefined tag", "a: !x!y z\n", "1:4: " + tagRefused},
		{"anchor without a name", "a: &\n", "1:4: " + anchorRefused},
		{"alias without a name", "a: * b\n", "1:4: " + anchorRefused},
		{"unknown alias", "a: b\nc: *b\n", "2:4: " + anchorRefused},
		{"depth that the parser refuses", strings.Repeat("[", 20_000), "1:10001: is nested too deeply: 64 levels are allowed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			checkProblems(t, strictyaml.Parse("f", []byte(test.source), config), "f:"+test.want)
		})
	}
}

// TestStructure has what is YAML and refused all the same.
func TestStructure(t *testing.T) {
	tests := []struct {
		name, source string
		want         []string
	}{
		{"second document", "a: 1\n---\nb: 2\n", []string{
			"f:2:1: a second document begins here: one is allowed in a file"}},
		{"second document, empty", "a: 1\n---\n", []string{
			"f:2:1: a second document begins here: one is allowed in a file"}},
		{"second document, broken", "a: 1\n---\nb: @\n", []string{
			"f:3:4: a value cannot begin with this character: put it in quotes"}},
		{"markers", "---\na: 1\n...\n", nil},
		{"duplicate key", "a: 1\nb: {c: 1, c: 2}\n\"a\": 3\na: 4\n", []string{
			`f:2:11: this key stands twice: first in line 2`,
			`f:3:1: this key stands twice: first in line 1`,
			`f:4:1: this key stands twice: first in line 1`}},
		{"anchor and alias", "a: &x [&y b]\nc: *x\n*x : d\n", []string{
			"f:1:4: " + anchorRefused, "f:1:8: " + anchorRefused, "f:2:4: " + anchorRefused, "f:3:1: " + anchorRefused}},
		{"alias of itself", "a: &x [*x]\n", []string{"f:1:4: " + anchorRefused, "f:1:8: " + anchorRefused}},
		{"merge key", "a: {b: 1}\nc:\n  <<: {b: 1}\n", []string{"f:3:3: " + mergeRefused}},
		{"quoted merge key", "'<<': {b: 1}\n", nil},
		{"core tags", "a: !!str 1\nb: !!int '2'\nc: !!map {}\nd: !!seq []\ne: !!null ''\nf: !!bool 'true'\ng: !!float 1\n", nil},
		{"tags that do not fit", "a: !!int x\nb: !!int 1.5\nc: !!seq {}\nd: !!str []\ne: !!bool yes\n", []string{
			"f:1:4: does not fit its tag: remove the tag",
			"f:2:4: does not fit its tag: remove the tag",
			"f:3:4: does not fit its tag: remove the tag",
			"f:4:4: does not fit its tag: remove the tag",
			"f:5:4: does not fit its tag: remove the tag"}},
		{"other tags", "a: !x b\nb: !!binary Yg==\nc: !!timestamp 2020-01-01\nd: ! e\n!x f: g\nh: !!x {}\n", []string{
			"f:1:4: " + tagRefused, "f:2:4: " + tagRefused, "f:3:4: " + tagRefused,
			"f:4:4: " + tagRefused, "f:5:1: " + tagRefused, "f:6:4: " + tagRefused}},
		{"keys that are no strings", "1: a\ntrue: b\n~: c\n? [d]\n: e\n{{f}}: g\n2020-01-01: h\n", []string{
			"f:1:1: a key must be a string, and is a number: put it in quotes",
			"f:2:1: a key must be a string, and is a boolean: put it in quotes",
			"f:3:1: a key must be a string, and is empty",
			"f:4:3: a key must be a string, and is a list",
			"f:6:1: a key must be a string, and is a mapping",
			"f:6:2: a key must be a string, and is a mapping"}},
		{"numbers", "- .inf\n- -.INF\n- .nan\n- 1e999\n- 0xffffffffffffffffffff\n", []string{
			"f:1:3: is no number that can be used: put a text in quotes",
			"f:2:3: is no number that can be used: put a text in quotes",
			"f:3:3: is no number that can be used: put a text in quotes",
			"f:4:3: is no number that can be used: put a text in quotes",
			"f:5:3: is no number that can be used: put a text in quotes"}},
		{"deepest", strings.Repeat("- ", 60) + "{a: {b: [c: d]}}", nil},
		{"too deep", strings.Repeat("- ", 60) + "{a: {b: [c: [d, [e]]]}}", []string{
			"f:1:133: is nested too deeply: 64 levels are allowed"}},
		{"long key", strings.Repeat("é\t", 100) + ": 1\n" + strings.Repeat("é\t", 100) + ": 1\n", []string{
			"f:2:1: this key stands twice: first in line 1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			checkProblems(t, strictyaml.Parse("f", []byte(test.source), nil), test.want...)
		})
	}
}

// TestRefusedOnce shows that a schema says nothing of what was refused before.
func TestRefusedOnce(t *testing.T) {
	document := strictyaml.Parse("f", []byte(lines(
		"credentials:",
		"  - &x {id: a, provider: b, auth_method: api_key, values: {v: {value: 1}}}",
		"  - *x",
		"  - <<: *x",
		"    nope: 1",
		"  - *x : 1",
		"    id: !x a",
		"  - {id: b, provider: .inf, auth_method: ! api_key}",
	)), config)
	checkProblems(t, document,
		"f:2:5: "+anchorRefused,
		"f:2:71: must be a string, and is a number: put it in quotes",
		"f:3:5: "+anchorRefused,
		"f:4:5: "+mergeRefused,
		`f:5:5: unknown key; known here: "allowed_hosts", "auth_method", "disabled", "display_name", "id", "labels", "provider", "values"`,
		"f:6:5: "+anchorRefused,
		"f:7:9: "+tagRefused,
		"f:8:23: is no number that can be used: put a text in quotes",
		"f:8:42: "+tagRefused,
	)
}
