package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// choice is the value of a flag that takes one of a few words, in any case.
type choice struct {
	value   string // the default, until Set
	allowed []string
}

// Set implements pflag.Value, as String and Type do.
func (c *choice) Set(text string) error {
	text = strings.ToLower(text)
	if !slices.Contains(c.allowed, text) {
		return errors.New("must be one of " + strings.Join(c.allowed, ", "))
	}
	c.value = text
	return nil
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.allowed, "|") }

// addChoice adds a flag that takes a choice. Shells complete its words.
func addChoice(command *cobra.Command, value *choice, name, shorthand, usage string) {
	command.Flags().VarP(value, name, shorthand, usage)
	words := cobra.FixedCompletions(value.allowed, cobra.ShellCompDirectiveNoFileComp)
	must(command.RegisterFlagCompletionFunc(name, words))
}

// addOutputFlag adds the flag for the form in which a command prints. The first is the default.
func addOutputFlag(command *cobra.Command, forms ...string) *choice {
	format := &choice{value: forms[0], allowed: forms}
	addChoice(command, format, "output", "o", "the form of the output")
	return format
}

// addConfigFlag adds the flag that names the configuration file.
func addConfigFlag(command *cobra.Command, path *string, usage string) {
	command.Flags().StringVar(path, "config", "", usage)
	must(command.MarkFlagFilename("config", "yaml", "yml"))
}

// addRequiredConfigFlag adds the flag for a command that needs the configuration file.
func addRequiredConfigFlag(command *cobra.Command, path *string) {
	addConfigFlag(command, path, "the configuration file (required)")
	must(command.MarkFlagRequired("config"))
}

// must is for cobra's errors about flags that were not added, or were completed twice.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
