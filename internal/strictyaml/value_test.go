package strictyaml_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/authmaterial/broker/internal/strictyaml"
)

func parse(source string) strictyaml.Value {
	return strictyaml.Parse("f", []byte(source), nil).Root()
}

func TestZeroValue(t *testing.T) {
	var zero strictyaml.Value
	zero.Problemf("lost")
	zero.ProblemAtf(1, "lost")
	for _, value := range []strictyaml.Value{zero, zero.Key("a"), zero.KeyNode("a")} {
		if value.Exists() || value.Text() != "" || value.Bool() || value.Items() != nil || value.Entries() != nil || value.String() != "" {
			t.Errorf("%#v is not absent", value)
		}
		if _, ok := value.Int(); ok {
			t.Errorf("%#v is a number", value)
		}
	}
}

func TestScalars(t *testing.T) {
	tests := []struct {
		source string
		text   string
		truth  bool
		number int
		whole  bool
	}{
		{source: "word", text: "word"},
		{source: "'1'", text: "1"},
		{source: `"\0\n"`, text: "\x00\n"},
		{source: "|\n a\n b\n", text: "a\nb\n"},
		{source: ">\n a\n b\n", text: "a b\n"},
		{source: "2026-11-21", text: "2026-11-21"},
		{source: "2026-11-21T10:00:00Z", text: "2026-11-21T10:00:00Z"},
		{source: "yes", text: "yes"},
		{source: "off", text: "off"},
		{source: "1_000", text: "1_000"},
		{source: "0b11", text: "0b11"},
		{source: "12:30:45", text: "12:30:45"},
		{source: "--", text: "--"},
		{source: "1.2.3", text: "1.2.3"},
		{source: "é1", text: "é1"},
		{source: "!!str 1", text: "1"},
		{source: "true", truth: true},
		{source: "True", truth: true},
		{source: "false"},
		{source: "~"},
		{source: "null"},
		{source: "401", number: 401, whole: true},
		{source: "-1", number: -1, whole: true},
		{source: "+017", number: 17, whole: true},
		{source: "0o17", number: 15, whole: true},
		{source: "0xfF", number: 255, whole: true},
		{source: "1e3", number: 1000, whole: true},
		{source: "1.0", number: 1, whole: true},
		{source: "!!int '5'", number: 5, whole: true},
		{source: "1.5"},
		{source: ".5"},
		{source: "1e300"},
		{source: "9223372036854775808"},
	}
	for _, test := range tests {
		value := parse(test.source)
		number, whole := value.Int()
		if value.Text() != test.text || value.Bool() != test.truth || number != test.number || whole != test.whole || !value.Exists() {
			t.Errorf("%q = %q, %t, %d, %t", test.source, value.Text(), value.Bool(), number, whole)
		}
	}
}

func TestCollections(t *testing.T) {
	root := parse("b: [1, x]\na: {}\nc:\n")
	var names []string
	for _, entry := range root.Entries() {
		names = append(names, entry.Name)
		if entry.Key.Text() != entry.Name || root.KeyNode(entry.Name) != entry.Key || root.Key(entry.Name) != entry.Value {
			t.Errorf("entry %q is not the one that is found", entry.Name)
		}
	}
	if !slices.Equal(names, []string{"b", "a", "c"}) {
		t.Errorf("names = %q", names)
	}
	if items := root.Key("b").Items(); len(items) != 2 || items[1].Text() != "x" {
		t.Errorf("items = %v", items)
	}
	if root.Key("d").Exists() || root.Key("b").Key("x").Exists() || !root.Key("c").Exists() {
		t.Error("it is not what is in the file that exists")
	}
}

func TestManyKeys(t *testing.T) {
	source := ""
	for i := range 20 {
		source += fmt.Sprintf("key%d: value%d\n", i, i)
	}
	document := strictyaml.Parse("f", []byte(source+"key3: again\nkey19: again\n"), nil)
	checkProblems(t, document,
		`f:21:1: this key stands twice: first in line 4`,
		`f:22:1: this key stands twice: first in line 20`,
	)
	for i := range 20 {
		if got, want := document.Root().Key(fmt.Sprint("key", i)).Text(), fmt.Sprint("value", i); got != want {
			t.Errorf("key %d = %q, want %q", i, got, want)
		}
	}
	if document.Root().Key("key20").Exists() {
		t.Error("key20 exists")
	}
}

func TestProblemf(t *testing.T) {
	document := strictyaml.Parse("f", []byte("a:\n  - b: c\n    d:\n"), nil)
	item := document.Root().Key("a").Items()[0]
	item.Key("b").Problemf("%d of %s", 2, "two")
	item.Key("d").Problemf("empty")
	item.Key("none").Key("deeper").Problemf("absent")
	item.KeyNode("b").Problemf("key")
	item.KeyNode("none").Problemf("absent")
	item.Key("b").Problemf("%d of %s", 2, "two")
	checkProblems(t, document, "f:2:5: absent", "f:2:5: key", "f:2:8: 2 of two", "f:3:7: empty")

	var found strictyaml.Problems
	if !errors.As(document.Err(), &found) || found[0] != (strictyaml.Problem{File: "f", Line: 2, Column: 5, Message: "absent"}) {
		t.Errorf("Err() = %#v", document.Err())
	}
	if item.Key("b").String() != "f:2:8" || document.String() != "f" {
		t.Errorf("the value is at %v of %v", item.Key("b"), document)
	}
}

// TestProblemThatFollows shows that no more is said of a value of the wrong type.
func TestProblemThatFollows(t *testing.T) {
	schema := compile(`{"properties": {"a": {"type": "string"}, "b": {"type": ["string", "array"]}}}`)
	document := strictyaml.Parse("f", []byte("a: 1\nb: {}\nc: x\n"), schema)
	for _, name := range []string{"a", "b"} {
		document.Root().Key(name).Problemf("must not be empty")
		document.Root().Key(name).ProblemAtf(0, "must not be empty")
		document.Root().Key(name).Key("x").Problemf("is missing")
	}
	document.Root().Key("c").Problemf("is said")
	checkProblems(t, document,
		"f:1:4: must be a string, and is a number: put it in quotes",
		"f:2:4: must be a string or a list, and is a mapping",
		"f:3:4: is said",
	)
}

func TestProblemAtf(t *testing.T) {
	tests := []struct {
		name, source string
		offset       int
		want         string
	}{
		{"plain", "a: Bearer ${token}\n", 7, "1:11"},
		{"plain with characters of more bytes", "a: éü ${token}\n", 5, "1:7"},
		{"single quotes", "a: 'é ${token}'\n", 3, "1:7"},
		{"double quotes", "a: \"é ${token}\" # b\n", 3, "1:7"},
		{"in a flow", "a: {b: [c, 'd']}\n", 0, "1:4"},
		{"second line", "b: c\na: x${token}\n", 1, "2:5"},
		{"end", "a: bc\n", 2, "1:6"},
		{"behind the end", "a: bc\n", 9, "1:6"},
		{"before the text", "a: bc\n", -1, "1:4"},
		{"line ends of two characters", "b: c\r\na: bc\r\n", 1, "2:5"},
		{"byte order mark", "\uFEFFa: bc\n", 1, "1:5"},
		{"no line end", "a: bc", 1, "1:5"},
		{"escape in double quotes", `a: "\u0061bc"`, 1, "1:4"},
		{"doubled single quote", "a: 'it''s'\n", 1, "1:4"},
		{"only a single quote", "a: ''''\n", 0, "1:5"},
		{"folded", "a: b\n  c\n", 2, "1:4"},
		{"folded in quotes", "a: 'b\n  c'\n", 2, "1:4"},
		{"block", "a: |\n  bc\n", 1, "1:4"},
		{"tagged", "a: !!str bc\n", 1, "1:4"},
		{"number", "a: 12\n", 1, "1:4"},
		{"empty", "a:\n", 1, "1:3"},
		{"empty quotes", "a: ''\n", 1, "1:5"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			document := strictyaml.Parse("f", []byte(test.source), nil)
			document.Root().Key("a").ProblemAtf(test.offset, "%s", "here")
			checkProblems(t, document, "f:"+test.want+": here")
		})
	}
}

// TestProblemAtfOfOneLine asks for places of one line in any order.
func TestProblemAtfOfOneLine(t *testing.T) {
	document := strictyaml.Parse("f", []byte("[é1, 'é2', é3]\n"), nil)
	items := document.Root().Items()
	for _, i := range []int{2, 0, 1, 1, 2} {
		items[i].ProblemAtf(2, "item %d", i)
	}
	checkProblems(t, document, "f:1:3: item 0", "f:1:8: item 1", "f:1:13: item 2")
}
