// Package access decides which callers may perform which actions on which credentials. The package
// does no I/O: each decision depends only on the arguments and the policy.
package access

import "slices"

// Action is an operation on a credential that a grant allows.
type Action string

// These are the actions that a grant can allow. Manage includes View; no other action includes
// another.
const (
	// Use allows callers to get a credential's material, and to report that a provider rejected the
	// material.
	Use Action = "use"
	// View allows callers to read everything about a credential except its secrets.
	View Action = "view"
	// Manage allows callers to create, change, verify and delete a credential.
	Manage Action = "manage"
	// Operate allows callers to read the state of the broker and its replicas. For this action, the
	// credentials that a grant lists have no effect.
	Operate Action = "operate"
)

// Actions returns all actions that a grant can allow.
func Actions() []Action { return []Action{Use, View, Manage, Operate} }

// Object is the credential that an access decision is about.
type Object struct {
	CredentialID string
	// Provider is the ID of the credential's provider. Provider is empty if the credential does not
	// exist.
	Provider string
}

// Grant allows some callers to perform some actions on some credentials.
type Grant struct {
	// Callers are patterns for the names of callers, or for the names of groups if they begin with
	// GroupPrefix. At least one pattern is required.
	Callers []Pattern
	// Credentials are patterns for credential IDs, and Providers are IDs of providers. A grant
	// applies to a credential if a pattern matches the ID of the credential, or if Providers
	// contains its provider.
	Credentials []Pattern
	Providers   []string
	// Actions are the actions that the grant allows. At least one action is required.
	Actions []Action
	// Source is the position of the grant in the configuration, for messages to people.
	Source string
}

// Allows reports whether the grant allows an action to its callers on its credentials.
func (g *Grant) Allows(action Action) bool {
	return slices.Contains(g.Actions, action) || action == View && slices.Contains(g.Actions, Manage)
}

// namesCredential reports whether a grant applies to a credential. All provider IDs of the grant
// are compared even if the credential does not exist, so that a denial takes the same time for
// existing and missing credentials.
func (g *Grant) namesCredential(object Object, compared *int) bool {
	for _, pattern := range g.Credentials {
		*compared++
		if pattern.Matches(object.CredentialID) {
			return true
		}
	}
	named := false
	for _, provider := range g.Providers {
		*compared++
		named = named || provider == object.Provider
	}
	return named && object.Provider != ""
}
