package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/yamlfile"
)

const maxPattern = 1024 // characters

// readPolicy reads the section `grants`. Without this section, callers may do everything if they
// need not authenticate, and nothing otherwise.
func readPolicy(list yamlfile.Value, path string, config *Config) *access.Policy {
	if !list.Exists() && !config.mustAuthenticate() {
		return access.AllowAll()
	}
	var ids []string // the sorted IDs of all credentials
	for credential := range config.Credentials.All() {
		ids = append(ids, credential.ID)
	}
	var grants []access.Grant
	for _, item := range list.List(0, 10_000) {
		grant := readGrant(item, config, ids)
		grant.Source = fmt.Sprintf("%s:%d", path, item.Place().Line)
		grants = append(grants, grant)
	}
	return access.NewPolicy(grants...)
}

func readGrant(item yamlfile.Value, config *Config, ids []string) access.Grant {
	item.Mapping("callers", "credentials", "providers", "actions").Requires("callers")
	grant := access.Grant{Actions: readActions(item.Get("actions"))}
	for _, value := range readPatterns(item, "callers") {
		pattern := readCaller(value, config)
		if pattern == access.Local && grant.Allows(access.Manage) && !config.Listen.anyPrivate() {
			value.Warnf("callers without authentication can manage credentials only over a Unix socket with the socket_mode 0600")
		}
		grant.Callers = append(grant.Callers, pattern)
	}
	for _, value := range readPatterns(item, "credentials") {
		pattern := access.Pattern(value.Text(maxPattern))
		warnIfUnmatched(value, pattern, ids)
		grant.Credentials = append(grant.Credentials, pattern)
	}
	for _, value := range item.Get("providers").List(1, 1000) {
		id := value.Text(yamlfile.MaxText)
		if id != "" && config.Catalog.Provider(id) == nil {
			value.Warnf("no provider has this ID%s", among(id, providerIDs(config.Catalog)))
		}
		grant.Providers = append(grant.Providers, id)
	}
	onlyOperates := len(grant.Actions) == 1 && grant.Allows(access.Operate)
	if !item.Get("credentials").Exists() && !item.Get("providers").Exists() && !onlyOperates {
		item.Problemf("the grant is for no credential: add 'credentials', a list of IDs or patterns with *, or add 'providers'")
	}
	return grant
}

func readActions(list yamlfile.Value) []access.Action {
	if !list.Exists() {
		return []access.Action{access.Use}
	}
	var known []string
	for _, action := range access.Actions() {
		known = append(known, string(action))
	}
	var actions []access.Action
	for _, value := range list.List(1, len(known)) {
		actions = append(actions, access.Action(value.OneOf(known...)))
	}
	return actions
}

// readCaller reads a pattern for callers, and reports patterns that match no caller.
func readCaller(value yamlfile.Value, config *Config) access.Pattern {
	pattern := value.Text(maxPattern)
	problem, warning := config.CheckCaller(pattern)
	if problem != "" {
		value.Problemf("%s", problem)
	}
	if warning != "" {
		value.Warnf("%s", warning)
	}
	return access.Pattern(pattern)
}

// readPatterns accepts an empty list with a warning, because a list becomes empty when a user
// removes its last caller or credential.
func readPatterns(item yamlfile.Value, key string) []yamlfile.Value {
	patterns := item.Get(key).List(0, 1000)
	if len(patterns) == 0 {
		item.Get(key).Warnf("the grant has no effect: it has no %s", key)
	}
	return patterns
}

// warnIfUnmatched warns of a pattern that matches no credential, because the pattern may be
// misspelt. A warning is enough, because the configuration must stay valid when a credential is
// removed.
func warnIfUnmatched(value yamlfile.Value, pattern access.Pattern, sorted []string) {
	switch {
	case pattern == "" || pattern == "*" || matchesAny(pattern, sorted):
	case pattern.Exact():
		value.Warnf("no credential has this ID; * stands for any characters")
	default:
		value.Warnf("no credential has an ID that matches this pattern")
	}
}

func matchesAny(pattern access.Pattern, sorted []string) bool {
	prefix, _, _ := strings.Cut(string(pattern), "*")
	first, _ := slices.BinarySearch(sorted, prefix)
	for _, text := range sorted[first:] {
		if !strings.HasPrefix(text, prefix) {
			return false
		}
		if pattern.Matches(text) {
			return true
		}
	}
	return false
}
