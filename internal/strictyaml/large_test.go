package strictyaml_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/strictyaml"
)

// patience is what a large document may take on a slow machine, with the race
// detector. Anything quadratic takes hours.
const patience = time.Minute

func checkTime(t *testing.T, begin time.Time) {
	t.Helper()
	if took := time.Since(begin); took > patience {
		t.Errorf("it took %v", took)
	}
}

func TestLargeDocument(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const count = 20_000
	var source strings.Builder
	source.WriteString("credentials:\n")
	for i := range count {
		fmt.Fprintf(&source, "  - id: cred-%d\n    provider: x\n    auth_method: api_key\n    values: {api_key: {value: %q}}\n    nope: x\n",
			i, strings.Repeat("x", 200))
	}
	begin := time.Now()
	document := strictyaml.Parse("f", []byte(source.String()), config)
	items := document.Root().Key("credentials").Items()
	for _, item := range items {
		item.Key("id").ProblemAtf(2, "here")
	}
	if found := problems(document); len(items) != count || len(found) != 2*count {
		t.Errorf("%d items have %d problems", len(items), len(found))
	}
	checkTime(t, begin)
}

func TestLargeMappingOnOneLine(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const count = 20_000
	var source strings.Builder
	source.WriteString("{")
	for i := range count {
		fmt.Fprintf(&source, `"key-%d": "value", `, i)
	}
	source.WriteString("}")
	begin := time.Now()
	document := strictyaml.Parse("f", []byte(source.String()), compile(`{"additionalProperties": {"maxLength": 1}}`))
	for i := range count {
		document.Root().Key(fmt.Sprint("key-", i)).ProblemAtf(2, "here")
	}
	if found := problems(document); len(found) != 2*count {
		t.Errorf("%d problems", len(found))
	}
	checkTime(t, begin)
}
