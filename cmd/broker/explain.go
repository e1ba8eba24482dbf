package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/config"
)

// explainAccess writes why a caller may use a credential. When it may not, or when no caller
// can have this name, the error is why. A name that no caller can have is not printed: it may
// be a token that was pasted.
func explainAccess(output io.Writer, loaded *config.Config, caller, id string) error {
	problem, warning := loaded.CheckCaller(caller)
	if problem != "" {
		return errors.New("CALLER: " + problem)
	}
	object, note := find(loaded, id)
	if warning != "" {
		note += "\n  " + warning
	}
	e := loaded.Policy.Explain(caller, access.Use, object)
	if !e.Allowed {
		return errors.New(whyDenied(loaded, e, caller, id) + note)
	}
	by := "the configuration has no grants, and tells no callers apart: everybody may use everything"
	if e.Grant != nil {
		by = "by the grant at " + e.Grant.Source
	}
	_, err := fmt.Fprintf(output, "%s may use %s\n  %s%s\n", caller, id, by, note)
	return err
}

// find returns what grants match of a credential, and what else is to say of it.
func find(loaded *config.Config, id string) (object access.Object, note string) {
	object = access.Object{CredentialID: id}
	for credential := range loaded.Credentials.All() {
		if credential.ID != id {
			continue
		}
		object.Provider = credential.Provider.ID
		if credential.Disabled {
			note = "\n  the credential is disabled: nobody gets it"
		}
		return object, note
	}
	return object, "\n  there is no credential of this ID"
}

func whyDenied(loaded *config.Config, e access.Explanation, caller, id string) string {
	text := fmt.Sprintf("%s may not use %s", caller, id)
	if loaded.Policy.DeniesAll() {
		return text + "\n  the configuration has no grants: nobody may use anything"
	}
	return text + named("the caller", e.ByCaller) + named("the credential", e.ByCredential)
}

// named says which grants name something.
func named(what string, grants []access.Grant) string {
	if len(grants) == 0 {
		return "\n  no grant names " + what
	}
	var places []string
	for _, grant := range grants {
		text := grant.Source
		if len(grant.Actions) == 1 && grant.Actions[0] == access.Manage {
			text += " (to manage alone)"
		}
		places = append(places, text)
	}
	return "\n  grants that name " + what + ": " + strings.Join(places, ", ")
}
