package yamlfile_test

import (
	"fmt"
	"strings"
	"testing"
)

// The constants canary and digits are secrets. YAML reads the value of `digits` as a number.
const (
	canary = "canary-6f1d"
	digits = "70615243"
)

// TestNoProblemQuotesAScalar replaces scalars of faulty documents by secrets, and checks that no
// problem quotes a secret.
func TestNoProblemQuotesAScalar(t *testing.T) {
	broken := []string{
		// These documents are YAML that the package does not allow.
		"a: &SECRET b", "a: *SECRET", "a: &SECRET\nb: *SECRET", "a: !SECRET b", "a: !SECRET!b c", "a: !<SECRET> b", "a: ! SECRET",
		"a: !!int SECRET", "a: !!null SECRET", "a: !!SECRET b", "<<: SECRET", "<<: *SECRET", "? [SECRET]\n: a", "? {a: SECRET}\n: b",
		"a: SECRET\na: SECRET", "a: SECRET\n---\nb: SECRET", "a: SECRET\x00", "a: SECRET\xff",
		"a: SECRET\rb: SECRET\r", "a: \x1bSECRET",
		// These texts are not YAML.
		"a: 'SECRET", "a: \"SECRET", "a: \"\\SECRET\"", "a: \"SECRET\\q\"", "a: 'SECRET' SECRET", "a: [SECRET", "a: {SECRET: SECRET", "a: }SECRET",
		"a: @SECRET", "a: `SECRET`", "a: %SECRET", "a: b: SECRET: SECRET", "a: SECRET\n b: SECRET", "a:\n\tSECRET", "a: |SECRET", "a: SECRET\nSECRET\nb: c",
		"%SECRET", "%YAML SECRET", "%TAG SECRET SECRET", "a: SECRET\n... SECRET", "a: 'b'#SECRET", "- SECRET\nb: SECRET", "a: - SECRET", "a: ? SECRET",
		"a: \"\\xzSECRET\"", "a: \"\\uzSECRET\"", "\"SECRET\"\nb: SECRET", "a: &SECRET", "a: *SECRET *SECRET", "a: ,SECRET", "a: ]SECRET",
	}
	forms := []string{canary, digits, "'" + canary + "'", `"` + canary + `"`, canary + " " + digits, "é" + canary, "|\n   " + canary}
	for _, form := range forms {
		for _, source := range broken {
			source = strings.ReplaceAll(source, "SECRET", form)
			document := parse(source)
			if err := document.Err(); err == nil {
				t.Errorf("%q has no problem", source)
			} else if shows(err.Error()) {
				t.Errorf("%q: %v", source, err)
			}
			if printed := fmt.Sprintf("%v %+v %v", document, document.Root(), document.Root().Get("a")); shows(printed) {
				t.Errorf("%q: the document or a value is printed with a secret: %s", source, printed)
			}
		}
	}
}

func shows(text string) bool {
	return strings.Contains(text, canary) || strings.Contains(text, digits) || strings.Contains(text, "6f1d")
}
