package leaktest_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../../.."

// TestSecurityNamesTests checks that all tests in SECURITY.md exist. Each row of its table of
// attackers must name tests for the content, the size and the time of what the attacker sends, or
// give a reason why there are none.
func TestSecurityNamesTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`").FindAllStringSubmatch(string(text), -1)
	if len(named) < 20 {
		t.Errorf("SECURITY.md names only %d tests", len(named))
	}
	there := tests(t)
	for _, match := range named {
		if !there[match[1]] {
			t.Errorf("SECURITY.md names the test %s, which does not exist", match[1])
		}
	}
	shown := regexp.MustCompile("content: `Test.*<br>size: (`(Test|Fuzz)|none: ).*<br>time: (`Test|none: )")
	_, table, _ := strings.Cut(string(text), "|---|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")
	if len(rows) < 10 {
		t.Errorf("the table of attackers in SECURITY.md has only %d rows", len(rows))
	}
	for _, row := range rows {
		if !shown.MatchString(row) {
			t.Errorf("this row of SECURITY.md must contain \"content:\" with a test, and \"size:\" and \"time:\", each with a test or with \"none:\" and a reason:\n%s", row)
		}
	}
}

// `tests` returns the names of all tests in the repository, as the keys of a
// map.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	declared, found := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9]+)\(`), map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range declared.FindAllSubmatch(text, -1) {
			found[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
