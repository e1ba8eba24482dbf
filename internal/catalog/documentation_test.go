package catalog_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/catalog"
)

var update = flag.Bool("update", false, "write docs/providers.md")

// TestProvidersPage checks that docs/providers.md lists the built-in providers. With the flag -update, it
// writes the page.
func TestProvidersPage(t *testing.T) {
	const path = "../../docs/providers.md"
	want := providersPage()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("docs/providers.md does not list the built-in providers (%v): run 'make generate'", err)
	}
}

func providersPage() string {
	var page strings.Builder
	all := catalog.Builtin().Providers()
	slices.SortFunc(all, func(a, b *catalog.Provider) int {
		return strings.Compare(strings.ToLower(a.DisplayName), strings.ToLower(b.DisplayName))
	})
	fmt.Fprintf(&page, `# Built-in providers

<!-- Generated from internal/catalog/providers by make generate. -->

The broker has definitions of %d providers. `+"`broker providers ID`"+` shows the fields, and how each
method authenticates requests. [Add a provider](guides/add-a-provider.md) describes how to define
another one.

A test compares what the broker sends with an example from the provider's documentation or from an
independent program. Nothing was tried with real accounts. The sources of the facts follow each
provider's name. A provider with fewer than two sources is marked UNVERIFIED.

| provider | ID | auth methods | hosts | verified by | sources |
|---|---|---|---|---|---|
`, len(all))
	for _, provider := range all {
		var methods, checks []string
		for _, method := range provider.AuthMethods {
			methods = append(methods, "`"+method.ID+"`")
			if v := method.Verification; v != nil && !slices.Contains(checks, verifiedBy(v)) {
				checks = append(checks, verifiedBy(v))
			}
		}
		name := fmt.Sprintf("[%s](%s)", provider.DisplayName, provider.DocumentationURL)
		if provider.IsUnverified() {
			name += " UNVERIFIED"
		}
		var sources []string
		for i, source := range provider.Sources {
			sources = append(sources, fmt.Sprintf("[%d](%s)", i+1, source))
		}
		fmt.Fprintf(&page, "| %s | `%s` | %s | %s | %s | %s |\n", name, provider.ID, strings.Join(methods, ", "),
			"`"+strings.Join(provider.AllowedHosts, "`, `")+"`", strings.Join(checks, ", "), strings.Join(sources, ", "))
	}
	return page.String()
}

func verifiedBy(v *catalog.Verification) string {
	if v.URL != nil {
		return "`" + v.Method + " " + v.URL.String() + "`"
	}
	return "`" + v.Method + " " + v.Path + "`"
}
