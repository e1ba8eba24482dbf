package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

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
		Long: `Reads a configuration file and all that it refers to, as serve would, and reports
every problem at once, each as FILE:LINE:COLUMN: what. It asks no provider. A warning
is about what is allowed and is probably a mistake, or about who gets the secrets without
a proof. serve logs the same warnings.

--explain prints which grant lets a caller use a credential, or which grants come close. A
caller's name begins with its kind, as in the audit log: token:NAME, jwt:ISSUER:SUBJECT,
uid:NUMBER, spiffe://DOMAIN/PATH, dns:NAME or subject:NAME; or it is local.

Exit status: 0 when there is no problem, and the caller may use the credential; else 1.`,
		Args: func(command *cobra.Command, args []string) error {
			if explain {
				return cobra.ExactArgs(2)(command, args)
			}
			return noArgs(command, args)
		},
		ValidArgsFunction: func(_ *cobra.Command, given []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
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
				path, loaded.Credentials.Len(), len(loaded.Catalog.Providers()))
			return err
		}),
	}
	addConfigFlag(command, &path)
	command.Flags().BoolVar(&explain, "explain", false, "say whether CALLER may use CREDENTIAL, and why")
	return command
}

// addConfigFlag adds the flag that names the configuration file.
func addConfigFlag(command *cobra.Command, path *string) {
	command.Flags().StringVar(path, "config", "", "the configuration file (required)")
	if err := command.MarkFlagRequired("config"); err != nil {
		panic(err) // the flag was added in the line above
	}
	completeYAML(command, "config")
}
