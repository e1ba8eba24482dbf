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

// noArgs is for commands without arguments. cobra's own takes each argument for the name of a
// command.
func noArgs(command *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if command.HasSubCommands() {
		return checkCommand(command.Root(), append(strings.Fields(command.CommandPath())[1:], args...))
	}
	hint := ""
	if command.Flags().Lookup("config") != nil {
		hint = "; the configuration file is named by --config FILE"
	}
	return fmt.Errorf("%q takes no argument, and was given %q%s", command.CommandPath(), args[0], hint)
}
