package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/config"
)

// explainAccess prints why a caller may use a credential. If the caller may not, or if no caller
// can have this name, the reason is the error. A name that no caller can have is not printed: it
// may be a token that was pasted.
func explainAccess(output io.Writer, loaded *config.Config, caller, id string) error {
	problem, warning := loaded.CheckCaller(caller)
	if problem != "" {
		return errors.New("CALLER: " + problem)
	}
	object := access.Object{CredentialID: id}
	note := "\n  there is no credential with this ID"
	for credential := range loaded.Credentials.All() {
		if credential.ID != id {
			continue
		}
		object.Provider, note = credential.Provider.ID, ""
		if credential.Disabled {
			note = "\n  the credential is disabled: no caller gets it"
		}
	}
	if warning != "" {
		note += "\n  " + warning
	}
	e := loaded.Policy.Explain(caller, access.Use, object)
	switch {
	case !e.Allowed && loaded.Policy.DeniesAll():
		return fmt.Errorf("%s may not use %s\n  the configuration has no grants: no caller may use anything%s", caller, id, note)
	case !e.Allowed:
		return fmt.Errorf("%s may not use %s%s%s%s", caller, id,
			grantsThatName("the caller", e.ByCaller), grantsThatName("the credential", e.ByCredential), note)
	}
	by := "the configuration has no grants, and does not tell callers apart: every caller may use everything"
	if e.Grant != nil {
		by = "by the grant at " + e.Grant.Source
	}
	_, err := fmt.Fprintf(output, "%s may use %s\n  %s%s\n", caller, id, by, note)
	return err
}

// grantsThatName lists the grants that name the caller or the credential.
func grantsThatName(what string, grants []access.Grant) string {
	var places []string
	for _, grant := range grants {
		text := grant.Source
		if len(grant.Actions) == 1 && grant.Actions[0] == access.Manage {
			text += " (only to manage)"
		}
		places = append(places, text)
	}
	if places == nil {
		return "\n  no grant names " + what
	}
	return "\n  grants that name " + what + ": " + strings.Join(places, ", ")
}
