package catalog

import (
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/strictyaml"
)

// unchecked are the keys of a definition below which `${` is not looked for: texts for people,
// those that are evaluated, and those whose own pattern has no place for it.
var unchecked = []string{"id", "display_name", "description", "allowed_hosts", "value", "parameters"}

// ReportUnevaluated reports each `${` in the strings of value, at any depth: it
// would be used as it is written. It skips what is below one of the keys in except.
func ReportUnevaluated(value strictyaml.Value, except ...string) {
	reportUnevaluatedText(value, value.Text())
	for _, item := range value.Items() {
		ReportUnevaluated(item, except...)
	}
	for _, entry := range value.Entries() {
		if !slices.Contains(except, entry.Name) {
			ReportUnevaluated(entry.Value, except...)
		}
	}
}

func reportUnevaluatedText(at strictyaml.Value, text string) {
	if offset := strings.Index(text, "${"); offset >= 0 {
		at.ProblemAtf(offset, "`${` is not evaluated here and would be used as it is written: write the text that is meant")
	}
}
