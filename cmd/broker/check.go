package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/authmaterial/broker/internal/config"
)

func newCheck() *cobra.Command {
	var path string
	command := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Reports everything that is wrong with a configuration file",
		Long: `Reads a configuration file and all that it refers to, as serve would, and reports
every problem at once, each as FILE:LINE:COLUMN: what. It asks no provider.

Exit status: 0 when there is none, 1 when there are some.`,
		Args: cobra.NoArgs,
		RunE: explained(func(command *cobra.Command, _ []string) error {
			loaded, err := config.Load(path, config.Options{})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(command.OutOrStdout(), "%s: no problems; credentials: %d, providers: %d\n",
				path, loaded.Credentials.Len(), len(loaded.Catalog.Providers()))
			return err
		}),
	}
	addConfigFlag(command, &path)
	return command
}

// addConfigFlag adds the flag that names the configuration file.
func addConfigFlag(command *cobra.Command, path *string) {
	command.Flags().StringVar(path, "config", "", "the configuration file (required)")
	if err := command.MarkFlagRequired("config"); err != nil {
		panic(err) // the flag was added in the line above
	}
}
