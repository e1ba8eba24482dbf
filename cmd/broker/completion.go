package main

import (
	"github.com/spf13/cobra"
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
