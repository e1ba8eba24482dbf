package main

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/authmaterial/broker/internal/config"
)

// complete lets shells complete the values of a command's flag.
func complete(command *cobra.Command, flag string, values cobra.CompletionFunc) {
	if err := command.RegisterFlagCompletionFunc(flag, values); err != nil {
		panic(err) // the flag was added before, and once
	}
}

// completeNothing keeps shells from offering files as the values of flags.
func completeNothing(command *cobra.Command, flags ...string) {
	for _, flag := range flags {
		complete(command, flag, cobra.NoFileCompletions)
	}
}

// completeYAML lets shells offer configuration files.
func completeYAML(command *cobra.Command, flag string) {
	complete(command, flag, cobra.FixedCompletions([]string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt))
}

// configVariable is the environment variable that names the configuration file whose
// credential IDs shells complete where no flag names one.
const configVariable = "BROKER_CONFIG"

// completeCredentials returns the IDs that start with begun, without those already given. It
// returns none if the file has problems: the command itself reports them.
func completeCredentials(path string, given []string, begun string) []cobra.Completion {
	if path == "" {
		path = os.Getenv(configVariable)
	}
	if path == "" {
		return nil
	}
	listed, err := config.LoadCredentials(path)
	if err != nil {
		return nil
	}
	var ids []cobra.Completion
	for _, credential := range listed {
		if strings.HasPrefix(credential.ID, begun) && !slices.Contains(given, credential.ID) {
			name := credential.DisplayName
			if name == "" {
				name = credential.Provider.DisplayName
			}
			ids = append(ids, cobra.CompletionWithDesc(credential.ID, printable(name)))
		}
	}
	return ids
}
