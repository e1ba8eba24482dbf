package main

import (
	"cmp"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/config"
)

// configVariable is the environment variable with the configuration file whose credential IDs
// shells complete where no flag names one.
const configVariable = "BROKER_CONFIG"

// completeCredentials returns the IDs that start with begun, without those already given. It
// returns none if the file has problems: the command itself reports them.
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

// completeProviders returns the IDs that start with begun, for the only argument. A file with
// problems adds none: the command itself reports them.
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
