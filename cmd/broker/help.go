package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// refuseUnknown has the commands that cobra adds to root refuse names that they do not
// know: cobra prints help for them. The output of root is set before.
func refuseUnknown(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, command := range root.Commands() {
		switch command.Name() {
		case "help":
			command.Args = func(_ *cobra.Command, path []string) error { return checkCommand(root, path) }
		case "completion":
			command.RunE = func(*cobra.Command, []string) error { return command.Help() }
		}
	}
}

// checkCommand fails unless there is a command below root at this path.
func checkCommand(root *cobra.Command, path []string) error {
	found, rest, err := root.Find(path)
	if err != nil || len(rest) == 0 {
		return err
	}
	var names []string
	for _, command := range found.Commands() {
		if command.IsAvailableCommand() {
			names = append(names, command.Name())
		}
	}
	if names == nil {
		return fmt.Errorf("%q has no commands, and so no %q", found.CommandPath(), rest[0])
	}
	return fmt.Errorf("%q has no command %q; it has: %s", found.CommandPath(), rest[0], strings.Join(names, ", "))
}
