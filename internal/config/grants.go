package config

import (
	"slices"
	"strings"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/credentials"
	"github.com/authmaterial/broker/internal/strictyaml"
)

// parsePolicy reads the grants. Without any key of that name, every caller may do
// everything, unless callers are told apart: then nobody may do anything.
func parsePolicy(list strictyaml.Value, who callers, providers *catalog.Catalog, all *credentials.Set) *access.Policy {
	if !list.Exists() && !who.toldApart {
		return access.AllowAll()
	}
	var ids []string
	for credential := range all.All() {
		ids = append(ids, credential.ID)
	}
	slices.Sort(ids)
	var grants []access.Grant
	for _, item := range list.Items() {
		grants = append(grants, parseGrant(item, who, providers, ids))
	}
	return access.NewPolicy(grants...)
}

func parseGrant(item strictyaml.Value, who callers, providers *catalog.Catalog, ids []string) access.Grant {
	grant := access.Grant{Source: lineOf(item)}
	warnIfEmpty(item.Key("callers"), "callers")
	for _, caller := range item.Key("callers").Items() {
		who.report(caller)
		grant.Callers = append(grant.Callers, access.Pattern(caller.Text()))
	}
	warnIfEmpty(item.Key("credentials"), "credentials")
	for _, id := range item.Key("credentials").Items() {
		checkCredential(id, ids)
		grant.Credentials = append(grant.Credentials, access.Pattern(id.Text()))
	}
	for _, id := range item.Key("providers").Items() {
		checkProvider(id, providers)
		grant.Providers = append(grant.Providers, id.Text())
	}
	for _, action := range item.Key("actions").Items() {
		grant.Actions = append(grant.Actions, parseAction(action))
	}
	if !item.Key("actions").Exists() {
		grant.Actions = []access.Action{access.Use}
	}
	if !item.Key("credentials").Exists() && !item.Key("providers").Exists() {
		item.Problemf("the grant is for no credential: add 'credentials', IDs or patterns with *, or 'providers'")
	}
	return grant
}

// lineOf is where a value stands, as FILE:LINE.
func lineOf(value strictyaml.Value) string {
	place := value.String()
	return place[:strings.LastIndexByte(place, ':')]
}

// warnIfEmpty warns of a list without items: who takes the last one out has it taken away.
func warnIfEmpty(list strictyaml.Value, of string) {
	if list.Exists() && len(list.Items()) == 0 {
		list.Warnf("the grant is of no use: it has no %s", of)
	}
}

// checkCredential warns of a pattern that no ID matches: a misspelt one allows nothing. It is no
// problem, so that the configuration stays usable after a credential was removed.
func checkCredential(id strictyaml.Value, sorted []string) {
	switch text := id.Text(); {
	case text == "" || text == "*" || matchesAny(access.Pattern(text), sorted):
	case access.Pattern(text).Exact():
		id.Warnf("there is no credential of this ID; * stands for any characters")
	default:
		id.Warnf("no credential has an ID that matches this pattern")
	}
}

// matchesAny reports whether a pattern matches any of the texts.
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

// checkProvider is checkCredential for the ID of a provider.
func checkProvider(id strictyaml.Value, providers *catalog.Catalog) {
	if text := id.Text(); text != "" && providers.Provider(text) == nil {
		id.Warnf("no provider has this ID%s", among(text, providerIDs(providers)))
	}
}

func parseAction(action strictyaml.Value) access.Action {
	allowed := access.Action(action.Text())
	if allowed != access.Use && allowed != access.Manage && allowed != "" {
		action.Problemf("an action is %s or %s", access.Use, access.Manage)
	}
	return allowed
}
