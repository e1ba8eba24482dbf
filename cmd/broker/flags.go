package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// choice is the value of a flag that accepts one of a few words, in upper or lower case.
type choice struct {
	value   string // the default value until Set is called
	allowed []string
}

// Set implements pflag.Value.
func (c *choice) Set(text string) error {
	text = strings.ToLower(text)
	if !slices.Contains(c.allowed, text) {
		return fmt.Errorf("must be one of %s", strings.Join(c.allowed, ", "))
	}
	c.value = text
	return nil
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.allowed, "|") }

// addChoice adds a flag that accepts one of a few words. Shells complete these words.
func addChoice(command *cobra.Command, value *choice, name, shorthand, usage string) {
	command.Flags().VarP(value, name, shorthand, usage)
	words := cobra.FixedCompletions(value.allowed, cobra.ShellCompDirectiveNoFileComp)
	must(command.RegisterFlagCompletionFunc(name, words))
}

// addOutputFlag adds the flag for the output format. The default is the first of the given formats.
func addOutputFlag(command *cobra.Command, forms ...string) *choice {
	format := &choice{value: forms[0], allowed: forms}
	addChoice(command, format, "output", "o", "the output format")
	return format
}

func addConfigFlag(command *cobra.Command, path *string, usage string) {
	command.Flags().StringVar(path, "config", "", usage)
	must(command.MarkFlagFilename("config", "yaml", "yml"))
}

func addRequiredConfigFlag(command *cobra.Command, path *string) {
	addConfigFlag(command, path, "the configuration file (required)")
	must(command.MarkFlagRequired("config"))
}

// must panics if cobra rejects a flag, because the flag does not exist or already has completions.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// groupErrors match the errors of cobra about flags that depend on each other. In the texts, $1 are
// the flags of the group, and $2 the flags that are missing.
var groupErrors = []struct {
	pattern *regexp.Regexp
	text    string
}{
	{regexp.MustCompile(`^if any flags in the group \[(.+)\] are set none of the others can be; \[.+\] were all set$`), "use only one of $1"},
	{regexp.MustCompile(`^at least one of the flags in the group \[(.+)\] is required$`), "one of $1 is required"},
	{regexp.MustCompile(`^if any flags in the group \[(.+)\] are set they must all be set; missing \[(.+)\]$`), "use $1 together: $2 is missing"},
}

// reworded returns the text of an error, with the names of flags as people write them.
func reworded(err error) string {
	for _, known := range groupErrors {
		if found := known.pattern.FindStringSubmatch(err.Error()); found != nil {
			text := known.text
			for i, names := range found[1:] {
				text = strings.ReplaceAll(text, fmt.Sprintf("$%d", i+1), "--"+strings.Join(strings.Fields(names), " and --"))
			}
			return text
		}
	}
	return err.Error()
}
