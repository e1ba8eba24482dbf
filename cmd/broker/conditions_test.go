package main

import (
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/yamlfile"
)

const conditionalProvider = `
credentials: []
providers:
  - id: acme
    display_name: Acme
    allowed_hosts: [api.acme.test]
    auth_methods:
      - id: main
        display_name: Main
        rejected_statuses: []
        rejected_when:
          - {statuses: [200], headers: {X-State: "a&b"}, json: {error.code: {not: 0}, "a\\.b.0": 1.5, ok: false}}
          - {statuses: [403], json: {}}
        fields: [{id: key, display_name: Key, required: true, secret: true}]
        headers: [{name: X-Key, value: "${key}"}, {name: X-Version, value: v1, only_if_absent: true}]
`

func TestProviderWithConditions(t *testing.T) {
	path := ownFile(t, conditionalProvider)
	got := succeed(t, "providers", "acme", "--config", path)
	for _, want := range []string{
		"  header       X-Version: v1 (only if the request has no such header)\n",
		"  rejected by  200 if the header X-State is \"a&b\" and error.code of the body is not 0 and a\\.b.0 of the body is 1.5 and ok of the body is false\n",
		"  rejected by  403 if the body is JSON\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the provider is\n%s\nwithout the line %q", got, want)
		}
	}
	if strings.Contains(got, "no status") {
		t.Errorf("the provider is\n%s", got)
	}
	known, err := loadCatalog(path)
	if err != nil {
		t.Fatal(err)
	}
	text := succeed(t, "providers", "acme", "--config", path, "-o", "json")
	document := yamlfile.Parse("p.json", []byte(text))
	if defined := catalog.Define(document.Root()); document.Err() != nil || !defined.Equal(known.Provider("acme")) {
		t.Errorf("the provider as JSON is another definition (%v):\n%s", document.Err(), text)
	}
}
