package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/observe"
	"github.com/authmaterial/broker/internal/server"
)

func newCheck() *cobra.Command {
	var path string
	var explain bool
	command := &cobra.Command{
		Use:   "check --config FILE [--explain CALLER CREDENTIAL]",
		Short: "Reports everything that is wrong with a configuration file",
		Long: `Reads a configuration file and every file that it names, as serve does, and reports every
problem at once, each as FILE:LINE:COLUMN: what is wrong. No provider is called. A warning is
about something that is allowed but probably a mistake, or about callers that get secrets
without being identified. serve logs the same warnings.

--explain prints the grant that lets a caller use a credential, or the grants that name only
one of the two, and the other actions that are allowed. The name of a caller begins with its
kind, as in the audit log: token:NAME, jwt:ISSUER:SUBJECT, uid:NUMBER, spiffe://DOMAIN/PATH,
dns:NAME or subject:NAME; or it is local. CALLER may also be a group: group:ISSUER:GROUP.

Exit status: 0 if there is no problem, and with --explain if the caller may use the
credential; otherwise 1.`,
		Args: func(command *cobra.Command, args []string) error {
			if explain {
				return cobra.ExactArgs(2)(command, args)
			}
			return noArgs(command, args)
		},
		ValidArgsFunction: func(_ *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
			if !explain || len(given) != 1 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completeCredentials(path, nil, begun), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: explained(func(command *cobra.Command, args []string) error {
			loaded, err := config.Load(path, config.Options{})
			if err != nil {
				return err
			}
			if explain {
				return explainAccess(command.OutOrStdout(), loaded, args[0], args[1])
			}
			warnings := slog.New(warningLines{command.ErrOrStderr()})
			observe.Check(warnings)
			server.LogWarnings(warnings, loaded)
			_, err = fmt.Fprintf(command.OutOrStdout(), "%s: no problems; credentials: %d, providers: %d\n",
				path, loaded.Credentials.Len(), loaded.Catalog.Len())
			return err
		}),
	}
	addRequiredConfigFlag(command, &path)
	command.Flags().BoolVar(&explain, "explain", false, "report whether CALLER may use CREDENTIAL, and why")
	return command
}

// warningLines is a slog.Handler that prints each warning as one line for people. The attributes of
// the log record follow the message in parentheses, except that an attribute named "warning"
// replaces the message. Attributes and groups that belong to the logger are not printed.
type warningLines struct{ out io.Writer }

func (w warningLines) WithAttrs([]slog.Attr) slog.Handler             { return w }
func (w warningLines) WithGroup(string) slog.Handler                  { return w }
func (warningLines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (w warningLines) Handle(_ context.Context, record slog.Record) error {
	text, details := record.Message, []string(nil)
	record.Attrs(func(attr slog.Attr) bool {
		if attr.Key == "warning" {
			text = attr.Value.String()
		} else {
			details = append(details, attr.Key+": "+attr.Value.String())
		}
		return true
	})
	if len(details) > 0 {
		text += " (" + strings.Join(details, "; ") + ")"
	}
	_, err := fmt.Fprintf(w.out, "warning: %s\n", text)
	return err
}

// explainAccess prints why a caller may use a credential, or returns an error that explains why the
// caller may not use it. The error does not quote an impossible caller name, which may be a token
// that was pasted by mistake.
func explainAccess(output io.Writer, loaded *config.Config, caller, id string) error {
	problem, warning := loaded.CheckCaller(caller)
	if problem != "" {
		return errors.New("CALLER: " + problem)
	}
	object, note := access.Object{CredentialID: id}, "\n  the file has no credential with this ID"
	for credential := range loaded.Credentials.All() {
		switch {
		case credential.ID == id && credential.Disabled:
			object.Provider, note = credential.Provider.ID, "\n  the credential is disabled: no caller gets it"
		case credential.ID == id:
			object.Provider, note = credential.Provider.ID, ""
		}
	}
	if loaded.Store != nil && object.Provider == "" {
		note += ", and the credential store was not read"
	}
	if warning != "" {
		note += "\n  " + warning
	}
	who := access.NamedCaller(caller)
	others := slices.DeleteFunc(access.Actions(), func(action access.Action) bool {
		return action == access.Use || !loaded.Policy.Decide(who, action, object).Allowed
	})
	if len(others) > 0 {
		note += "\n  other actions that are allowed: " + joined(others)
	}
	e := loaded.Policy.Explain(who, access.Use, object)
	switch {
	case !e.Allowed && loaded.Policy.DeniesAll():
		return fmt.Errorf("%s may not use %s\n  the configuration has no grants: no caller may use any credential%s", caller, id, note)
	case !e.Allowed:
		note = grantsThatName("the caller", e.ByCaller) + grantsThatName("the credential", e.ByCredential) + note
		return fmt.Errorf("%s may not use %s%s", caller, id, note)
	}
	by := "the configuration has no grants, and does not authenticate callers: every caller may use everything"
	if e.Grant != nil {
		by = "the grant at " + e.Grant.Source + " allows it"
	}
	_, err := fmt.Fprintf(output, "%s may use %s\n  %s%s\n", caller, id, by, note)
	return err
}

func joined(actions []access.Action) string {
	var texts []string
	for _, action := range actions {
		texts = append(texts, string(action))
	}
	return strings.Join(texts, ", ")
}

func grantsThatName(what string, grants []access.Grant) string {
	var places []string
	for _, grant := range grants {
		text := grant.Source
		if !grant.Allows(access.Use) {
			text += " (only to " + joined(grant.Actions) + ")"
		}
		places = append(places, text)
	}
	if places == nil {
		return "\n  no grant is for " + what
	}
	return fmt.Sprintf("\n  the grants for %s: %s", what, strings.Join(places, ", "))
}
