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

func unindented(text string) string {
	var lines strings.Builder
	for line := range strings.Lines(text) {
		lines.WriteString(strings.TrimSpace(line) + "\n")
	}
	return lines.String()
}
