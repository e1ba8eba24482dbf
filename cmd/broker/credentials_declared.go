package main

import (
	"cmp"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/credentials"
)

// listDeclared prints the credentials of a configuration file. No broker needs to run.
func listDeclared(out *screen, path, format string) error {
	listed, err := config.LoadCredentials(path)
	switch {
	case err != nil:
		return err
	case format == "json":
		return printJSON(out, newCredentialsJSON(listed))
	case format == "yaml":
		text, err := json.Marshal(newCredentialsJSON(listed))
		if err != nil {
			return err
		}
		return printYAML(out, text)
	}
	return printCredentials(out, listed)
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
