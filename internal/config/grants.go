package config

import (
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
	ids := map[string]bool{}
	for credential := range all.All() {
		ids[credential.ID] = true
	}
	var grants []access.Grant
	for _, item := range list.Items() {
		grants = append(grants, parseGrant(item, who, providers, ids))
	}
	return access.NewPolicy(grants...)
}

func parseGrant(item strictyaml.Value, who callers, providers *catalog.Catalog, ids map[string]bool) access.Grant {
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

// checkCredential warns of an exact ID that there is not: a misspelt one allows nothing. It
// is no problem, so that who takes a credential out has it served no more.
func checkCredential(id strictyaml.Value, ids map[string]bool) {
	if text := id.Text(); text != "" && access.Pattern(text).Exact() && !ids[text] {
		id.Warnf("there is no credential of this ID; * stands for any characters")
	}
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
