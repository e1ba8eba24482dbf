package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/yamlfile"
)

const providersHelp = `Lists the providers and their auth methods. With an ID: the fields that a credential of that
provider has, where to find their values, and the lines for the configuration file.

--config adds the providers of a file. The rest of the file is not checked: use 'broker check'
for that.

The JSON contains definitions, with the keys that they have in a configuration file: the
provider's if an ID is given, otherwise all of them under "providers".`

func newProviders() *cobra.Command {
	var path string
	var format *choice
	command := &cobra.Command{
		Use:   "providers [ID]",
		Short: "Shows the providers, and the fields of their credentials",
		Long:  providersHelp,
		Example: `  broker providers
  broker providers sendpulse
  broker providers acme --config broker.yaml`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			return completeProviders(path, args, begun), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: explained(func(command *cobra.Command, args []string) error {
			return showProviders(newScreen(command.OutOrStdout()), path, args, format.value == "json")
		}),
	}
	addConfigFlag(command, &path, "also show the providers in this configuration file")
	format = addOutputFlag(command, "table", "json")
	command.AddCommand(newProvidersNew(), newProvidersTry())
	return command
}

func showProviders(out *screen, path string, args []string, asJSON bool) error {
	known, err := loadCatalog(path)
	switch {
	case err != nil:
		return err
	case len(args) == 0 && asJSON:
		return printJSON(out, map[string][]*catalog.Provider{"providers": known.Providers()})
	case len(args) == 0:
		return printProviders(out, known)
	}
	provider := known.Provider(args[0])
	switch {
	case provider == nil:
		var ids []string
		for _, provider := range known.Providers() {
			ids = append(ids, provider.ID)
		}
		return fmt.Errorf("there is no provider %q; %s", args[0], otherProvider(args[0], ids))
	case asJSON:
		return printJSON(out, provider)
	}
	printProvider(out, provider)
	return nil
}

// otherProvider completes an error about an unknown provider: it suggests the most similar ID.
func otherProvider(id string, ids []string) string {
	if nearest, found := yamlfile.Nearest(id, ids); found {
		return fmt.Sprintf("did you mean %q?", nearest)
	}
	return "'broker providers' prints all of them"
}

// loadCatalog returns the built-in providers and, unless the path is empty, the providers in the
// configuration file at the path.
func loadCatalog(path string) (*catalog.Catalog, error) {
	if path == "" {
		return catalog.Builtin(), nil
	}
	return config.LoadProviders(path)
}

// printProviders prints a line for each auth method.
func printProviders(out *screen, known *catalog.Catalog) error {
	var table [][]string
	for _, provider := range known.Providers() {
		for _, method := range provider.AuthMethods {
			var fields []string
			for _, field := range method.Fields {
				fields = append(fields, field.ID)
			}
			id := provider.ID
			if provider.IsUnverified() {
				id += " (UNVERIFIED)"
			}
			table = append(table, []string{id, method.ID, strings.Join(fields, ", ")})
		}
	}
	return out.printTable([]string{"PROVIDER", "AUTH METHOD", "FIELDS"}, table)
}

// printProvider prints everything that an operator needs to configure a credential of the provider.
func printProvider(out *screen, provider *catalog.Provider) {
	fmt.Fprintln(out, out.bold(printable(provider.DisplayName+" ("+provider.ID+")")))
	printDescription(out, "", provider.Description)
	var list rows
	list.add("allowed host", provider.AllowedHosts...)
	list.add("documentation", provider.DocumentationURL)
	list.add("source", provider.Sources...)
	if provider.IsUnverified() {
		list.add("UNVERIFIED", "fewer than two sources confirm the definition: try it with a real account before you rely on it")
	}
	out.printRows("", list)
	for _, method := range provider.AuthMethods {
		fmt.Fprintf(out, "\n%s\n", out.bold(printable("Auth method "+method.ID+": "+method.DisplayName)))
		printMethod(out, method)
		fmt.Fprintf(out, "\n  %s\n%s", out.bold("For the configuration file, under 'credentials'"), snippet(provider, method))
	}
}

func printMethod(out *screen, method *catalog.AuthMethod) {
	printDescription(out, "  ", method.Description)
	var list rows
	if method.TokenRequest != nil {
		list.add("token from", method.TokenRequest.URL.String())
	}
	for _, header := range method.Headers {
		text := header.Name + ": " + source(header)
		if header.OnlyIfAbsent {
			text += " (only if the request has no such header)"
		}
		list.add("header", text)
	}
	for _, param := range method.QueryParams {
		list.add("query parameter", param.Name+"="+source(param))
	}
	list.add("rejected by", rejections(method.RejectedStatuses, method.RejectedWhen)...)
	list.add("new secret", rotations[method.Rotation])
	if verification := method.Verification; verification != nil {
		list.add("verified by", verification.Method+" "+target(verification))
	}
	list.add("documentation", method.DocumentationURL)
	out.printRows("  ", list)
	fmt.Fprintf(out, "\n  %s\n", out.bold("Fields"))
	for _, field := range method.Fields {
		kind := "optional"
		if field.Required {
			kind = "required"
		}
		if field.Secret {
			kind += ", secret"
		}
		fmt.Fprintf(out, "  %s (%s): %s\n", out.bold(field.ID), kind, printable(field.DisplayName))
		out.printWrapped("      ", field.Description)
	}
}

var rotations = map[catalog.Rotation]string{
	catalog.RotationOverlapping:     "the old secret stays valid",
	catalog.RotationRevokesPrevious: "the old secret stops working at once",
	catalog.RotationUnknown:         "unknown: the old secret may stay valid or not",
}

// source returns the text of a placement as it stands in the provider definition.
func source(placement catalog.Placement) string {
	text, _ := placement.Value.MarshalText() // never fails
	return string(text)
}

func printDescription(out *screen, indent, text string) {
	if text != "" {
		out.printWrapped(indent, text)
		fmt.Fprintln(out)
	}
}

// snippet returns an item for the section `credentials` of a configuration file, indented as in
// that section. Optional fields are commented out.
func snippet(provider *catalog.Provider, method *catalog.AuthMethod) string {
	id := provider.ID
	if len(provider.AuthMethods) > 1 {
		id += "_" + method.ID
	}
	id = strings.Trim(strings.ReplaceAll(id, "_", "-"), "-") // an ID ends with a letter or digit
	values, fields := "values: {}", ""
	for _, field := range method.Fields {
		variable := strings.ToUpper(strings.ReplaceAll(provider.ID, "-", "_") + "_" + field.ID)
		line := fmt.Sprintf("%s: {env: %s}", field.ID, variable)
		if field.Required {
			values = "values:"
			fields += "      " + line + "\n"
		} else {
			fields += "      # " + line + "  # optional\n"
		}
	}
	return fmt.Sprintf("  - id: %s\n    provider: %s\n    auth_method: %s\n    %s\n%s",
		id, provider.ID, method.ID, values, fields)
}

// completeProviders returns the provider IDs that start with `begun`, or no IDs if the command line
// already has an argument. completeProviders ignores a configuration file with problems, because
// the command itself reports them.
func completeProviders(path string, given []string, begun string) []cobra.Completion {
	known, err := loadCatalog(path)
	if err != nil {
		known = catalog.Builtin()
	}
	var ids []cobra.Completion
	for _, provider := range known.Providers() {
		if len(given) == 0 && strings.HasPrefix(provider.ID, begun) {
			ids = append(ids, cobra.CompletionWithDesc(provider.ID, printable(provider.DisplayName)))
		}
	}
	return ids
}

// target describes where a verification request goes.
func target(verification *catalog.Verification) string {
	if verification.URL != nil {
		return verification.URL.String()
	}
	return verification.Path + " at each allowed host"
}
