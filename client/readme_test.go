package client_test

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentsShowTheExamples checks that the documents show at most five lines for a language, and
// that these lines are in the README of the client, or for Go in the compiled example. The tests of
// the clients run the examples of their READMEs.
func TestDocumentsShowTheExamples(t *testing.T) {
	sources := map[string]string{
		"go":     "example_test.go",
		"python": "../clients/python/README.md",
		"ts":     "../clients/typescript/README.md",
		"java":   "../clients/java/README.md",
	}
	for document, languages := range map[string][]string{
		"../README.md":       {"go", "python"},
		"../docs/calling.md": {"go", "python", "ts", "java"},
	} {
		for _, language := range languages {
			_, block, found := strings.Cut(read(t, document), "```"+language+"\n")
			block, _, ended := strings.Cut(block, "```")
			lines := strings.Count(strings.ReplaceAll(block, "\n\n", "\n"), "\n")
			if !found || !ended || lines < 1 || lines > 5 || !strings.Contains(unindented(read(t, sources[language])), unindented(block)) {
				t.Errorf("%s does not show at most 5 lines in %s that are also in %s", document, language, sources[language])
			}
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func unindented(text string) string {
	var lines strings.Builder
	for line := range strings.Lines(text) {
		lines.WriteString(strings.TrimSpace(line) + "\n")
	}
	return lines.String()
}
