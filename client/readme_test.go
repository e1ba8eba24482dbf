package client_test

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentsShowTheExample checks that the documents show the compiled example.
func TestDocumentsShowTheExample(t *testing.T) {
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"../README.md", "../docs/calling.md"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, block, found := strings.Cut(string(text), "```go\nbroker := ")
		block, _, ended := strings.Cut("broker := "+block, "```")
		if !found || !ended || !strings.Contains(unindented(string(example)), unindented(block)) {
			t.Errorf("%s does not show the lines of ExampleClient_HTTPClient", path)
		}
	}
}

// TestCallingShowsTheExamples checks that docs/calling.md shows at most five lines for each language,
// from the README of the client, whose examples the client's tests run.
func TestCallingShowsTheExamples(t *testing.T) {
	calling, err := os.ReadFile("../docs/calling.md")
	if err != nil {
		t.Fatal(err)
	}
	for language, source := range map[string]string{
		"go": "example_test.go", "python": "../clients/python/README.md", "ts": "../clients/typescript/README.md", "java": "../clients/java/README.md",
	} {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		_, block, found := strings.Cut(string(calling), "```"+language+"\n")
		block, _, ended := strings.Cut(block, "```")
		lines := len(strings.FieldsFunc(block, func(r rune) bool { return r == '\n' }))
		if !found || !ended || !strings.Contains(unindented(string(text)), unindented(block)) || lines < 1 || lines > 5 {
			t.Errorf("docs/calling.md does not show an example in %s of at most 5 lines that is also in %s", language, source)
		}
	}
}

func unindented(text string) string {
	var lines strings.Builder
	for line := range strings.Lines(text) {
		lines.WriteString(strings.TrimSpace(line) + "\n")
	}
	return lines.String()
}
