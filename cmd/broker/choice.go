package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// choice is the value of a flag that takes one of a few words.
type choice struct {
	value   string
	allowed []string
}

// newChoice makes a choice of these words. The first is the default.
func newChoice(allowed ...string) *choice { return &choice{value: allowed[0], allowed: allowed} }

// Set reads the value of the flag.
func (c *choice) Set(text string) error {
	if !slices.Contains(c.allowed, text) {
		return errors.New("must be one of " + strings.Join(c.allowed, ", "))
	}
	c.value = text
	return nil
}

// String is the value.
func (c *choice) String() string { return c.value }

// Type is what help shows in the value's place.
func (c *choice) Type() string { return strings.Join(c.allowed, "|") }

// addOutputFlag adds the flag that says in which form a command prints.
func addOutputFlag(command *cobra.Command, format *choice) {
	command.Flags().VarP(format, "output", "o", "the form of the output")
	complete(command, "output", cobra.FixedCompletions(format.allowed, cobra.ShellCompDirectiveNoFileComp))
}
