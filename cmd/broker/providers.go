package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
)

const providersHelp = `Lists the providers and their auth methods. With an ID: what a credential of that
provider takes, where to find it, and the lines for the configuration file.

--config adds the providers of a file. Its credentials are not looked at: 'broker check'
is for the file as a whole.

The JSON holds definitions, with the keys that they have in a configuration file: for an
ID that provider's, otherwise all of them under "providers".`

func newProviders() *cobra.Command {
	var path string
	format := newChoice("table", "json")
	command := &cobra.Command{
		Use:   "providers [ID]",
		Short: "Shows the providers, and what their credentials take",
		Long:  providersHelp,
		Example: `  broker providers
  broker providers sendpulse
  broker providers acme --config broker.yaml`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return completeProviders(path, args, begun), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: explained(func(command *cobra.Command, args []string) error {
			return showProviders(newScreen(command.OutOrStdout()), path, args, format.value)
		}),
	}
	command.Flags().StringVar(&path, "config", "", "a configuration file whose providers to add")
	addOutputFlag(command, format)
	completeYAML(command, "config")
	return command
}

// completeProviders are the IDs that an argument which was begun can be.
func completeProviders(path string, args []string, begun string) []cobra.Completion {
	if len(args) > 0 {
		return nil
	}
	known, err := loadCatalog(path)
	if err != nil {
		known = catalog.Builtin() // the command itself says what is wrong
	}
	var ids []cobra.Completion
	for _, provider := range known.Providers() {
		if strings.HasPrefix(provider.ID, begun) {
			ids = append(ids, cobra.CompletionWithDesc(provider.ID, printable(provider.DisplayName)))
		}
	}
	return ids
}

// showProviders prints one provider or all.
func showProviders(out *screen, path string, args []string, format string) error {
	known, err := loadCatalog(path)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		if format == "json" {
			return encodeJSON(out, newProvidersJSON(known))
		}
		return printProviders(out, known)
	}
	provider := known.Provider(args[0])
	if provider == nil {
		return unknownProvider(args[0], known)
	}
	if format == "json" {
		return encodeJSON(out, newProviderJSON(provider))
	}
	printProvider(out, provider)
	return nil
}

func unknownProvider(id string, known *catalog.Catalog) error {
	var ids []string
	for _, provider := range known.Providers() {
		ids = append(ids, provider.ID)
	}
	return fmt.Errorf("there is no provider %q; there are: %s", id, strings.Join(ids, ", "))
}

// printProviders prints a line for each auth method.
func printProviders(out *screen, known *catalog.Catalog) error {
	rows := [][]string{{"PROVIDER", "AUTH METHOD", "FIELDS"}}
	for _, provider := range known.Providers() {
		for _, method := range provider.AuthMethods {
			var fields []string
			for _, field := range method.Fields {
				fields = append(fields, field.ID)
			}
			rows = append(rows, []string{provider.ID, method.ID, strings.Join(fields, ", ")})
		}
	}
	return out.printTable(rows)
}

// loadCatalog returns the built-in providers and those of a file, if one is named.
func loadCatalog(path string) (*catalog.Catalog, error) {
	if path == "" {
		return catalog.Builtin(), nil
	}
	return config.LoadProviders(path)
}
