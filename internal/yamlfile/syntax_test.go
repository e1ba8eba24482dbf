package yamlfile_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/authmaterial/broker/internal/yamlfile"
)

const (
	anchorRefused = "anchors and aliases are not allowed: write the value out, or put a text that begins with & or * in quotes"
	tagRefused    = "a tag is not allowed: put a text that begins with ! in quotes"
	mergeRefused  = "merge keys (<<) are not allowed: write the entries out"
	directive     = "a directive (a line that begins with %) is not allowed: remove it"
	colon         = "a colon is not allowed here: check the indentation, or put the text in quotes"
	empty         = `f:1:1: the file is empty: expected a mapping with "a", "b"`
	character     = " is not allowed: save the file as UTF-8 with LF or CR LF as line ends, or write the character as an escape in double quotes"
)

func checkProblems(t *testing.T, document *yamlfile.Document, want ...string) {
	t.Helper()
	var got []string
	if err := document.Err(); err != nil {
		got = strings.Split(err.Error(), "\n")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func parse(source string) *yamlfile.Document { return yamlfile.Parse("f", []byte(source)) }

func TestEmpty(t *testing.T) {
	for _, source := range []string{"", "\n\n", "# a comment\n", "---\n", "\uFEFF", "---\n# a comment\n...\n", " ", "~"} {
		document := parse(source)
		document.Root().Mapping("b", "a")
		checkProblems(t, document, empty)
	}
}

func TestBytes(t *testing.T) {
	tests := []struct{ name, source, want string }{
		{"latin 1", "a: é\nb: \xe9\n", "f:2:4: the character U+FFFD" + character},
		{"UTF-16", "\xff\xfea\x00", "f:1:1: the character U+FFFD" + character},
		{"UTF-16 without a mark", "a\x00:\x00", "f:1:2: the character U+0000" + character},
		{"surrogate", "a: \xed\xa0\x80\n", "f:1:4: the character U+FFFD" + character},
		{"NUL", "a: b\nc: é\x00\n", "f:2:5: the character U+0000" + character},
		{"CR alone", "a: b\rc: d\r", "f:1:5: the character U+000D" + character},
		{"CR at the end", "a: b\r\nc: d\r", "f:2:5: the character U+000D" + character},
		{"control", "a: \"\x1b\"\n", "f:1:5: the character U+001B" + character},
		{"DEL", "a: \x7f\n", "f:1:4: the character U+007F" + character},
		{"next line", "a: \u0085\n", "f:1:4: the character U+0085" + character},
		{"line separator", "a: b\u2028c\n",
			"f:1:5: the character U+2028" + character},
		{"byte order mark inside", "a: b\n\uFEFFc: d\n", "f:2:1: the character U+FEFF" + character},
		{"noncharacter", "a: \uFFFF\n", "f:1:4: the character U+FFFF" + character},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			document := parse(test.source)
			checkProblems(t, document, test.want)
			document.Root().Get("a").Problemf("follows from that")
			checkProblems(t, document, test.want)
		})
	}
}

func TestLineEndsAndByteOrderMark(t *testing.T) {
	source := "\uFEFFa: é\r\nb:\r\n  c: 1\r\n"
	document := parse(source)
	document.Root().Get("a").Key().Problemf("one")
	document.Root().Get("b").Get("c").Problemf("two")
	checkProblems(t, document, "f:1:1: one", "f:3:6: two")
}

// TestSyntax checks that each text that is not YAML causes exactly one problem.
func TestSyntax(t *testing.T) {
	tests := []struct{ name, source, want string }{
		{"tab that indents", "a:\n\tb: 1\n", "2:1: a tab is not allowed here: indent with spaces"},
		{"tab in a continued scalar", "a: b\n\tc: d\n", "2:1: a tab is not allowed here: indent with spaces"},
		{"tab in a block of text", "a: |\n x\n\ty\n", "3:1: a tab is not allowed here: indent with spaces"},
		{"character that begins nothing", "a: @b\n", "1:4: a value cannot begin with this character: put it in quotes"},
		{"no colon", "a: 1\nbcd\ne: 2\n", "2:1: a key needs a colon and a space after it"},
		{"two colons", "é: ü: x\n", "1:5: " + colon},
		{"indented key", "a: 1\n b: 2\n", "2:3: " + colon},
		{"dedented key", "a:\n  - 1\n b: 2\n", "3:2: a key is expected here: check the indentation and the quotes"},
		{"key after items", "- 1\nb: 2\n", "2:1: a list item is expected here: check the indentation"},
		{"item after a key", "a: - b\n", "1:4: a list item is not allowed here: begin a line with it, or put the text in quotes"},
		{"key in a value", "a: ? b\n", "1:4: a key is not allowed here: check the indentation"},
		{"text after quotes", "a: 'b' 'c'\n", "1:8: a key is expected here: check the indentation and the quotes"},
		{"open list", "a: [1,\n  2\nb: 3\n", "3:2: a comma or ] is expected here: the [ in line 1 is not closed"},
		{"open mapping", "a: {b: 1\n", "2:1: a comma or } is expected here: the { in line 1 is not closed"},
		{"no item", "a: [b, , c]\n", "1:8: a value is expected here"},
		{"open quotes", "a: b\nc: 'd\ne: f\n", "2:4: the quotes that begin here are never closed"},
		{"open quotes in a document", "c: \"d\n---\n", "1:4: the quotes that begin here are not closed before the document ends"},
		{"escape", "a: \"b\\qc\"\n", `1:6: there is no such escape: write \\ for a backslash, or use single quotes`},
		{"escape without digits", "a: \"\\xZZ\"\n", "1:7: the escape needs hexadecimal digits"},
		{"escaped surrogate", "a: \"\\ud800\"\n", "1:7: the escape is not a Unicode character"},
		{"comment", "a: 'x'#c\n", "1:7: a comment needs a space before its #"},
		{"head of a block of text", "a: |3x\n  b\n", "1:4: after | or > only a digit, + and - are allowed on the line"},
		{"root that goes on", "{a: 1}\nb: 2\n", "2:1: does not belong to the lines above: check the indentation"},
		{"text after the end", "a: 1\n... b\n", "2:5: nothing is allowed after the end of the document"},
		{"unknown directive", "%FOO\n---\na: 1\n", "1:1: " + directive},
		{"YAML 3", "%YAML 3.0\n---\na: 1\n", "1:1: " + directive},
		{"two directives", "%YAML 1.2\n%YAML 1.2\n---\na: 1\n", "1:1: " + directive},
		{"late directive", "a: 1\n%YAML 1.2\n---\n", "2:1: " + directive},
		{"open tag", "a: !<x\n", "1:4: " + tagRefused},
		{"undefined tag", "a: !x!y z\n", "1:4: " + tagRefused},
		{"anchor without a name", "a: &\n", "1:4: " + anchorRefused},
		{"alias without a name", "a: * b\n", "1:4: " + anchorRefused},
		{"unknown alias", "a: b\nc: *b\n", "2:4: " + anchorRefused},
		{"depth that the parser refuses", strings.Repeat("[", 20_000), "1:10001: is nested too deeply"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			checkProblems(t, parse(test.source), "f:"+test.want)
		})
	}
}

// TestStructure checks which constructs of YAML are problems.
func TestStructure(t *testing.T) {
	tests := []struct {
		name, source string
		want         []string
	}{
		{"second document", "a: 1\n---\nb: 2\n", []string{
			"f:2:1: a second document begins here: a file holds only one"}},
		{"second document, empty", "a: 1\n---\n", []string{
			"f:2:1: a second document begins here: a file holds only one"}},
		{"second document, broken", "a: 1\n---\nb: @\n", []string{
			"f:3:4: a value cannot begin with this character: put it in quotes"}},
		{"markers", "---\na: 1\n...\n", nil},
		{"duplicate key", "a: 1\nb: {c: 1, c: 2}\n\"a\": 3\na: 4\n", []string{
			`f:2:11: duplicate key: it is already in line 2`,
			`f:3:1: duplicate key: it is already in line 1`,
			`f:4:1: duplicate key: it is already in line 1`}},
		{"anchor and alias", "a: &x [&y b]\nc: *x\n*x : d\n", []string{
			"f:1:4: " + anchorRefused, "f:1:8: " + anchorRefused, "f:2:4: " + anchorRefused, "f:3:1: " + anchorRefused}},
		{"alias of itself", "a: &x [*x]\n", []string{"f:1:4: " + anchorRefused, "f:1:8: " + anchorRefused}},
		{"merge key", "a: {b: 1}\nc:\n  <<: {b: 1}\n", []string{"f:3:3: " + mergeRefused}},
		{"quoted merge key", "'<<': {b: 1}\n", nil},
		{"text by its tag", "a: !!str 1\n!!str 2: b\n", nil},
		{"core tags", "a: !!int '2'\nb: !!map {}\nc: !!null ''\nd: !!str []\n", []string{
			"f:1:4: " + tagRefused, "f:2:4: " + tagRefused, "f:3:4: " + tagRefused, "f:4:4: " + tagRefused}},
		{"other tags", "a: !x b\nb: !!binary Yg==\nc: !!timestamp 2020-01-01\nd: ! e\n!x f: g\nh: !!x {}\n", []string{
			"f:1:4: " + tagRefused, "f:2:4: " + tagRefused, "f:3:4: " + tagRefused,
			"f:4:4: " + tagRefused, "f:5:1: " + tagRefused, "f:6:4: " + tagRefused}},
		{"keys that are not strings", "1: a\ntrue: b\n~: c\n? [d]\n: e\n{{f}}: g\n2020-01-01: h\n", []string{
			"f:1:1: a key must be a string, and is a number: put it in quotes",
			"f:2:1: a key must be a string, and is true or false: put it in quotes",
			"f:3:1: a key must be a string, and is empty",
			"f:4:3: a key must be a string, and is a list",
			"f:6:1: a key must be a string, and is a mapping"}},
		{"long key", strings.Repeat("é\t", 100) + ": 1\n" + strings.Repeat("é\t", 100) + ": 1\n", []string{
			"f:2:1: duplicate key: it is already in line 1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			checkProblems(t, parse(test.source), test.want...)
		})
	}
}
