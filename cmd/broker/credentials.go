package main

import (
	"cmp"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/credentials"
)

const listHelp = `Lists the credentials of a configuration file, in their order there. No broker needs to run,
and no secret is read: environment variables and files with values may be missing.

The JSON has the keys of the configuration file, except 'values'; "allowed_hosts" are the
provider's and the credential's own. The table prints U+FFFD in place of characters that a
terminal does not show.

Problems with the form of the file, its providers and its credentials are reported as by
'broker check', which checks the whole file.`

func newCredentialsList() *cobra.Command {
	var path string
	var format *choice
	command := &cobra.Command{
		Use:     "list --config FILE",
		Short:   "Lists the credentials of a configuration file",
		Long:    listHelp,
		Example: `  broker credentials list --config broker.yaml`,
		Args:    noArgs,
		RunE: explained(func(command *cobra.Command, _ []string) error {
			listed, err := config.LoadCredentials(path)
			if err != nil {
				return err
			}
			if format.value == "json" {
				return printJSON(command.OutOrStdout(), newCredentialsJSON(listed))
			}
			return printCredentials(newScreen(command.OutOrStdout()), listed)
		}),
	}
	addRequiredConfigFlag(command, &path)
	format = addOutputFlag(command, "table", "json")
	return command
}

func printCredentials(out *screen, listed []*credentials.Credential) error {
	var table [][]string
	for _, credential := range listed {
		var labels []string
		for _, name := range slices.Sorted(maps.Keys(credential.Labels)) {
			labels = append(labels, name+"="+credential.Labels[name])
		}
		disabled := "no"
		if credential.Disabled {
			disabled = "yes"
		}
		table = append(table, []string{
			credential.ID, credential.Provider.ID, credential.Method.ID,
			cmp.Or(credential.DisplayName, "-"), cmp.Or(strings.Join(labels, ", "), "-"), disabled,
		})
	}
	return out.printTable([]string{"ID", "PROVIDER", "AUTH METHOD", "DISPLAY NAME", "LABELS", "DISABLED"}, table)
}

// credentialJSON describes a credential with the keys of the configuration file.
type credentialJSON struct {
	ID         string `json:"id"` // first in the output
	Provider   string `json:"provider"`
	AuthMethod string `json:"auth_method"`
	*credentials.Credential
}

func newCredentialsJSON(listed []*credentials.Credential) map[string][]credentialJSON {
	made := []credentialJSON{}
	for _, credential := range listed {
		made = append(made, credentialJSON{credential.ID, credential.Provider.ID, credential.Method.ID, credential})
	}
	return map[string][]credentialJSON{"credentials": made}
}

// configVariable is the name of an environment variable that contains the path of a configuration
// file. Shells complete the credential IDs of that file unless a flag names another file.
const configVariable = "BROKER_CONFIG"

// completeCredentials returns the credential IDs that start with `begun` and are not on the command
// line yet. completeCredentials returns no IDs if the configuration file has problems, because the
// command itself reports them.
func completeCredentials(path string, given []string, begun string) []cobra.Completion {
	if path = cmp.Or(path, os.Getenv(configVariable)); path == "" {
		return nil
	}
	listed, err := config.LoadCredentials(path)
	if err != nil {
		return nil
	}
	var ids []cobra.Completion
	for _, credential := range listed {
		if strings.HasPrefix(credential.ID, begun) && !slices.Contains(given, credential.ID) {
			name := cmp.Or(credential.DisplayName, credential.Provider.DisplayName)
			ids = append(ids, cobra.CompletionWithDesc(credential.ID, printable(name)))
		}
	}
	return ids
}
