package catalog_test

import (
	"strings"
	"testing"
)

// TestDomainsOfHosts checks that the text after the last expression of a host determines the domain.
func TestDomainsOfHosts(t *testing.T) {
	const field = "  fields: [{id: a, display_name: A, required: true, secret: false}]\n  headers: [{name: X, value: x}]\n"
	for host, allowed := range map[string]bool{
		"${a}.example.com":      true,
		"api-${a}.example.com":  true,
		"${a}-live.example.com": true,
		"${a}.example.co.uk":    true,
		"${a}":                  false,
		"${a}.com":              false,
		"${a}.co.uk":            false,
		"${a}example.com":       false,
		"${a}-example.com":      false,
		"x-${a}.co.uk":          false,
		"www.example.${a}":      false,
	} {
		_, err := define(strings.Replace(with(field), "[p.test]", `["`+host+`"]`, 1))
		if refused := err != nil && strings.Contains(err.Error(), "in a dot and a registered domain of the provider"); refused == allowed {
			t.Errorf("%s: %v", host, err)
		}
	}
}
