package yamlfile_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/yamlfile"
)

func read(source string) string {
	got := []string{parse(source).Root().FreeText(0, 100)}
	if parse(source).Root().Bool(false) {
		got = append(got, "true")
	}
	if number := parse(source).Root().Int(-1000, 1000, 0); number != 0 {
		got = append(got, fmt.Sprint(number))
	}
	return strings.Join(got, "|")
}

// TestScalars checks that scalars are read as the core schema of YAML 1.2 requires.
func TestScalars(t *testing.T) {
	for source, want := range map[string]string{
		"word": "word", "'1'": "1", `"\0\n"`: "\x00\n", "|\n a\n b\n": "a\nb\n", ">\n a\n b\n": "a b\n", "''": "",
		"2026-11-21": "2026-11-21", "2026-11-21T10:00:00Z": "2026-11-21T10:00:00Z", "yes": "yes", "off": "off",
		"1_000": "1_000", "0b11": "0b11", "12:30:45": "12:30:45", "--": "--", "1.2.3": "1.2.3", "é1": "é1", "!!str 1": "1",
		"true": "|true", "True": "|true", "TRUE": "|true", "false": "", "FALSE": "", "~": "", "null": "",
		"401": "|401", "-1": "|-1", "+017": "|17", "1e2": "|100", "1.0": "|1",
		"1.5": "", ".5": "", "1e300": "", "9223372036854775808": "", "0x1F": "|31", "0o17": "|15", ".inf": "", "-.INF": "", ".nan": "",
	} {
		if got := read(source); got != want {
			t.Errorf("the scalar %q was read as %q, want %q", source, got, want)
		}
	}
}

// TestAbsentValue checks that reading an absent value returns the defaults and causes no problems.
func TestAbsentValue(t *testing.T) {
	for _, source := range []string{"a: 1\n", "'", "a: [x"} {
		document := parse(source)
		before := document.Err()
		absent := document.Root().Get("b").Get("c")
		absent.Key().Problemf("not reported")
		absent.Key().Warnf("not reported")
		entries, isMapping := absent.Entries()
		_, isOnly := absent.Only("not reported")
		if absent.Exists() || absent.Empty() || isMapping || isOnly || len(entries)+len(absent.List(1, 2)) > 0 ||
			absent.Text(1)+absent.OneOf("a")+absent.Match(regexp.MustCompile("^x$"), "x") != "" ||
			!absent.Bool(true) || absent.Int(1, 2, 7) != 7 || absent.Scalar() != nil || absent.Duration(1, 2, 7, "") != 7 {
			t.Errorf("%q: a method treats the absent value as present", source)
		}
		absent.Mapping("a").Requires("a")
		absent.Needs("a", "b")
		absent.Excludes("a", "b")
		if err := document.Err(); fmt.Sprint(err) != fmt.Sprint(before) || len(document.Warnings()) > 0 {
			t.Errorf("%q: the problems are %v", source, err)
		}
	}
}

// TestRules breaks each rule for values in turn, and checks the message.
func TestRules(t *testing.T) {
	isB := regexp.MustCompile("^b+$")
	for name, test := range map[string]struct {
		source string
		read   func(yamlfile.Value)
		want   string
	}{
		"text, number":        {"1", func(v yamlfile.Value) { v.Text(9) }, "1:4: must be a string, and is a number: put it in quotes"},
		"text, boolean":       {"TRUE", func(v yamlfile.Value) { v.Text(9) }, "1:4: must be a string, and is true or false: put it in quotes"},
		"text, not a number":  {".nan", func(v yamlfile.Value) { v.Text(9) }, "1:4: must be a string, and is a number: put it in quotes"},
		"text, null":          {"", func(v yamlfile.Value) { v.Text(9) }, "1:3: must be a string, and is empty"},
		"text, list":          {"[]", func(v yamlfile.Value) { v.Text(9) }, "1:4: must be a string, and is a list"},
		"text, empty":         {"''", func(v yamlfile.Value) { v.Text(9) }, "1:4: must not be empty"},
		"text, long":          {"éé", func(v yamlfile.Value) { v.Text(1) }, "1:4: must have at most 1 characters, and has 2"},
		"text, expression":    {"x${a}", func(v yamlfile.Value) { v.Text(9) }, "1:5: `${` is not evaluated here and would be used as it is written: write the text that is meant"},
		"match":               {"a", func(v yamlfile.Value) { v.Match(isB, "must be b") }, "1:4: must be b"},
		"match, mapping":      {"{}", func(v yamlfile.Value) { v.Match(isB, "must be b") }, "1:4: must be a string, and is a mapping"},
		"one of":              {"c", func(v yamlfile.Value) { v.OneOf("a", "b") }, `1:4: must be one of "a", "b"`},
		"boolean":             {"'true'", func(v yamlfile.Value) { v.Bool(false) }, "1:4: must be true or false, and is a string"},
		"number, low":         {"0", func(v yamlfile.Value) { v.Int(1, 2, 1) }, "1:4: must be a whole number from 1 to 2"},
		"number, high":        {"1e9", func(v yamlfile.Value) { v.Int(1, 2, 1) }, "1:4: must be a whole number from 1 to 2"},
		"number, half":        {"1.5", func(v yamlfile.Value) { v.Int(1, 2, 1) }, "1:4: must be a whole number from 1 to 2"},
		"number, not one":     {".nan", func(v yamlfile.Value) { v.Int(1, 2, 1) }, "1:4: must be a whole number from 1 to 2"},
		"number, string":      {"'1'", func(v yamlfile.Value) { v.Int(1, 2, 1) }, "1:4: must be a number, and is a string"},
		"duration":            {"1", func(v yamlfile.Value) { v.Duration(1, 2, 1, "x") }, "1:4: must be a string, and is a number: put it in quotes"},
		"duration, long":      {"1h", func(v yamlfile.Value) { v.Duration(1, time.Minute, 1, "up to 1m") }, "1:4: must be a duration up to 1m"},
		"list":                {"a", func(v yamlfile.Value) { v.List(0, 9) }, "1:4: must be a list, and is a string"},
		"list, short":         {"[]", func(v yamlfile.Value) { v.List(1, 9) }, "1:4: must have 1 to 9 items, and has 0"},
		"list, long":          {"[a, b]", func(v yamlfile.Value) { v.List(0, 1) }, "1:4: must have 0 to 1 items, and has 2"},
		"mapping":             {"[]", func(v yamlfile.Value) { v.Mapping("a").Requires("a") }, "1:4: must be a mapping, and is a list"},
		"mapping, any keys":   {"x", func(v yamlfile.Value) { v.Entries() }, "1:4: must be a mapping, and is a string"},
		"key, similar":        {"{clientsecret: 1}", func(v yamlfile.Value) { v.Mapping("id", "client_secret") }, `1:5: unknown key; did you mean "client_secret"?`},
		"key, others":         {"{x: 1}", func(v yamlfile.Value) { v.Mapping("id", "client_secret") }, `1:5: unknown key; known here: "client_secret", "id"`},
		"key, missing":        {"{b: 1}", func(v yamlfile.Value) { v.Mapping("a", "b").Requires("a", "b") }, `1:4: the key "a" is missing`},
		"key, missing, alias": {"{*x : 1}", func(v yamlfile.Value) { v.Requires("a", "b") }, "1:5: " + anchorRefused},
		"key, needed":         {"{b: 1}", func(v yamlfile.Value) { v.Needs("b", "c") }, "1:5: needs c"},
		"key, excluded":       {"{b: 1, c: 2}", func(v yamlfile.Value) { v.Excludes("b", "c") }, "1:5: is not allowed together with c"},
		"only, two":           {"{a: 1, b: 2}", func(v yamlfile.Value) { v.Only("must be one") }, "1:4: must be one"},
		"only, text":          {"a", func(v yamlfile.Value) { v.Only("must be one") }, "1:4: must be one"},
		"twice":               {"[a, a]", readUnique, "1:8: duplicate word: it is already in line 1"},
	} {
		document := parse("a: " + test.source + "\n")
		value := document.Root().Get("a")
		test.read(value)
		test.read(value) // a second read does not report the problem again
		if err := document.Err(); err == nil || err.Error() != "f:"+test.want {
			t.Errorf("%s: the problems are\n%v\nwant\nf:%s", name, err, test.want)
		}
	}
}

func readUnique(v yamlfile.Value) {
	unique := yamlfile.Unique{}
	for _, item := range v.List(0, 9) {
		unique.Check(item, item.Text(9), "word")
	}
}

func TestProblems(t *testing.T) {
	document := parse("a:\n  - b: c\n    d:\n")
	item := document.Root().Get("a").List(1, 1)[0]
	item.Get("b").Problemf("%d of %s", 2, "two")
	item.Get("d").Problemf("empty")
	item.Get("none").Get("deeper").Problemf("absent")
	item.Get("b").Key().Problemf("key")
	item.Get("b").Problemf("%d of %s", 2, "two")
	item.Get("b").Warnf("doubtful")
	checkProblems(t, document, "f:2:5: key", "f:2:8: 2 of two", "f:3:7: empty")

	var found yamlfile.Problems
	if !errors.As(document.Err(), &found) || found[0] != (yamlfile.Problem{File: "f", Place: yamlfile.Place{Line: 2, Column: 5}, Message: "key"}) {
		t.Errorf("Err() = %#v", document.Err())
	}
	if warnings := document.Warnings().Error(); warnings != "f:2:8: doubtful" {
		t.Errorf("the warnings are %s", warnings)
	}
}

// TestProblemThatFollows checks that a value of the wrong kind causes only one problem.
func TestProblemThatFollows(t *testing.T) {
	document := parse("a: 1\nb: {}\nc: x\n")
	for _, name := range []string{"a", "b"} {
		value := document.Root().Get(name)
		_ = value.Text(9)
		value.Problemf("must not be empty")
		value.Get("x").Problemf("is missing")
	}
	document.Root().Get("c").Problemf("is reported")
	checkProblems(t, document,
		"f:1:4: must be a string, and is a number: put it in quotes",
		"f:2:4: must be a string, and is a mapping",
		"f:3:4: is reported",
	)
}

func TestProblemAtf(t *testing.T) {
	for name, test := range map[string]struct {
		source string
		offset int
		want   string
	}{
		"plain":                            {"a: Bearer ${token}\n", 7, "1:11"},
		"plain with characters of 2 bytes": {"a: éü ${token}\n", 5, "1:7"},
		"single quotes":                    {"a: 'é ${token}'\n", 3, "1:7"},
		"double quotes":                    {"a: \"é ${token}\" # b\n", 3, "1:7"},
		"in a flow":                        {"a: 'd', b: [c]}\n", 0, "1:5"},
		"second line":                      {"b: c\na: x${token}\n", 1, "2:5"},
		"end":                              {"a: bc\n", 2, "1:6"},
		"line ends of two characters":      {"b: c\r\na: bc\r\n", 1, "2:5"},
		"byte order mark":                  {"\uFEFFa: bc\n", 1, "1:5"},
		"no line end":                      {"a: bc", 1, "1:5"},
		"escape in double quotes":          {`a: "\u0061bc"`, 1, "1:4"},
		"doubled single quote":             {"a: 'it''s'\n", 1, "1:4"},
		"folded":                           {"a: b\n  c\n", 2, "1:4"},
		"folded in quotes":                 {"a: 'b\n  c'\n", 2, "1:4"},
		"block":                            {"a: |\n  bc\n", 1, "1:4"},
		"tagged":                           {"a: !!str bc\n", 1, "1:4"},
		"far to the right":                 {strings.Repeat(" ", 5000) + "a: bc\n", 1, "1:5004"},
	} {
		t.Run(name, func(t *testing.T) {
			source := test.source
			if name == "in a flow" {
				source = "{" + source
				test.want = "1:6"
			}
			document := parse(source)
			document.Root().Get("a").ProblemAtf(test.offset, "%s", "here")
			checkProblems(t, document, "f:"+test.want+": here")
		})
	}
}

func TestNearest(t *testing.T) {
	known := []string{"id", "ids", "client_secret"}
	for name, want := range map[string]string{
		"ie": "id", "idss": "ids", "di": "id", "x": "", "clientsecret": "client_secret", "client_sceret": "client_secret",
		"Client_Sceret": "client_secret", "Client-Sceret": "", "client_secrets": "client_secret", strings.Repeat("id", 40): "",
	} {
		if got, ok := yamlfile.Nearest(name, known); got != want || ok != (want != "") {
			t.Errorf("%q is nearest to %q, want %q", name, got, want)
		}
	}
}

// FuzzParse checks that no input makes the package panic, and that every problem has a place.
func FuzzParse(f *testing.F) {
	for _, source := range []string{
		"", "# a\n", "---\n...\n", "\uFEFFa: b\r\n", "a: [1, 0x2, .5, ~, true, 2020-01-01]\n", "a: &x {b: *x}\n<<: *x\n", "a: !!int '1'\nb: !x y\n",
		"a: |\n  b\nc: >-\n  d\n", "a: 'it''s'\nb: \"\\u00e9\\n\"\n", "a: b\n---\nc: d\n", "? [a]\n: b\n", "a:\n\tb\n", "%YAML 1.2\n---\na: b\n", "[[[[", "{a: {b: ",
		"credentials:\n- {id: a, values: {k: {env: A}}}\n", "a: 1\na: 2\n", "a: b\rc: d", "a: \x00", "\xff\xfe",
	} {
		f.Add([]byte(source))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		document := yamlfile.Parse("f", source)
		visit(document.Root())
		var found yamlfile.Problems
		if err := document.Err(); err != nil && !errors.As(err, &found) {
			t.Fatalf("Err() has the type %T, want Problems", err)
		}
		for _, problem := range found {
			if problem.Line < 1 || problem.Column < 1 || problem.Message == "" || strings.ContainsAny(problem.Message, "\r\n") {
				t.Errorf("the problem has no place, or is not one line: %+v", problem)
			}
		}
	})
}

func visit(value yamlfile.Value) {
	value.Problemf("here")
	if text := value.FreeText(0, 1000); text != "" {
		value.ProblemAtf(len(text)/2, "there")
		_ = value.Text(10)
	}
	value.Get("credentials").Key().Problemf("absent")
	_, _, _ = value.Bool(true), value.Int(0, 9, 1), value.Scalar()
	for _, item := range value.List(0, 1000) {
		visit(item)
	}
	entries, _ := value.Entries()
	for _, entry := range entries {
		visit(entry.Key())
		visit(entry)
	}
	value.Mapping("a").Requires("b")
}
