package strictyaml_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/strictyaml"
)

// checkSteps wants the places in a document to be found by going over each of its
// characters once at most: from the beginning of its line every time, it is hundreds of
// times as many.
func checkSteps(t *testing.T, document *strictyaml.Document, source string) {
	t.Helper()
	if steps := document.Steps(); steps == 0 || steps > len(source) {
		t.Errorf("%d characters are looked at, of a file of %d", steps, len(source))
	}
}

func TestLargeDocument(t *testing.T) {
	const count = 1_000
	var source strings.Builder
	source.WriteString("credentials:\n")
	for i := range count {
		fmt.Fprintf(&source, "  - id: cred-%d\n    provider: x\n    auth_method: api_key\n    values: {api_key: {value: %q}}\n    nope: x\n",
			i, strings.Repeat("x", 200))
	}
	document := strictyaml.Parse("f", []byte(source.String()), config)
	items := document.Root().Key("credentials").Items()
	for _, item := range items {
		item.Key("id").ProblemAtf(2, "here")
	}
	if found := problems(document); len(items) != count || len(found) != 2*count {
		t.Errorf("%d items have %d problems", len(items), len(found))
	}
	checkSteps(t, document, source.String())
}

func TestLargeMappingOnOneLine(t *testing.T) {
	const count = 1_000
	var source strings.Builder
	source.WriteString("{")
	for i := range count {
		fmt.Fprintf(&source, `"key-%d": "value", `, i)
	}
	source.WriteString("}")
	document := strictyaml.Parse("f", []byte(source.String()), compile(`{"additionalProperties": {"maxLength": 1}}`))
	for i := range count {
		document.Root().Key(fmt.Sprint("key-", i)).ProblemAtf(2, "here")
	}
	if found := problems(document); len(found) != 2*count {
		t.Errorf("%d problems", len(found))
	}
	checkSteps(t, document, source.String())
}
