package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/yamlfile"
)

const (
	maxPattern  = 1024 // characters
	maxPatterns = 1000
)

// readPolicy reads the section `grants`. Without this section, callers may do everything if they
// need not authenticate, and nothing otherwise. The parameter `source` is Options.GrantSource.
func readPolicy(list yamlfile.Value, path string, config *Config, source string) *access.Policy {
	var administrators []access.Pattern
	if config.Store != nil {
		administrators = config.Store.Administrators
	}
	if !list.Exists() && !config.mustAuthenticate() {
		return access.AllowAll().WithAdministrators(administrators...)
	}
	var ids []string // the sorted IDs of all credentials
	for credential := range config.Credentials.All() {
		ids = append(ids, credential.ID)
	}
	var grants []access.Grant
	for _, item := range list.List(0, 10_000) {
		grant := readGrant(item, config, ids)
		grant.Source = cmp.Or(source, fmt.Sprintf("%s:%d", path, item.Place().Line))
		grants = append(grants, grant)
	}
	return access.NewPolicy(grants...).WithAdministrators(administrators...)
}

func readGrant(item yamlfile.Value, config *Config, ids []string) access.Grant {
	item.Mapping("callers", "credentials", "providers", "actions").Requires("callers")
	grant := access.Grant{Actions: readActions(item.Get("actions"))}
	for _, value := range readPatterns(item, "callers") {
		grant.Callers = append(grant.Callers, readCaller(value, config, grant.Allows(access.Manage)))
	}
	for _, value := range readPatterns(item, "credentials") {
		pattern := access.Pattern(value.Text(maxPattern))
		if config.Store == nil { // with a store, the grant may be for a managed credential
			warnIfUnmatched(value, pattern, ids)
		}
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

// readCaller reads a pattern for callers, and reports a pattern that matches no caller. If
// `manages` is true, readCaller also reports a pattern that matches only callers who can never
// manage.
func readCaller(value yamlfile.Value, config *Config, manages bool) access.Pattern {
	pattern := value.Text(maxPattern)
	problem, warning := config.CheckCaller(pattern)
	if problem != "" {
		value.Problemf("%s", problem)
	}
	if warning != "" {
		value.Warnf("%s", warning)
	}
	if manages && pattern == access.Local && !config.Listen.anyPrivate() {
		value.Warnf("callers without authentication can manage credentials only over a Unix socket with the socket_mode 0600")
	}
	return access.Pattern(pattern)
}

// warnOfManagers warns if nobody may manage the credentials of the store, or if the administrators
// have no effect.
func (c *Config) warnOfManagers(store yamlfile.Value) {
	if c.Store == nil {
		return
	}
	manages := len(c.Store.Administrators) > 0 || c.Policy.AllowsAll() && c.Listen.anyPrivate()
	if !c.Policy.AllowsAll() && !c.Policy.DeniesAll() {
		manages = len(c.Policy.GrantsOf(access.Manage)) > 0
		store.Get("administrators").Key().Warnf("has no effect: the file has grants, which alone say who may manage")
	}
	if !manages {
		store.Key().Warnf("nobody may manage the credentials of the store: add a grant with the action manage, or store.administrators")
	}
}

// readPatterns accepts an empty list with a warning, because a list becomes empty when a user
// removes its last caller or credential.
func readPatterns(item yamlfile.Value, key string) []yamlfile.Value {
	patterns := item.Get(key).List(0, maxPatterns)
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
