package main

import (
	"fmt"
	"io"
	"os"
	"path"

	"github.com/spf13/cobra"

	"github.com/authmaterial/broker/internal/curlcommand"
	"github.com/authmaterial/broker/internal/draft"
	"github.com/authmaterial/broker/internal/regularfile"
)

const newProviderHelp = `Writes the first version of a provider's definition, which 'broker check' accepts. At a terminal,
the command asks a few questions.

With --from-curl, it reads a curl command that works, and finds out what authenticates the
request: the header Authorization, other headers and query parameters that look like a key,
--user, or a token request. No value of a secret becomes part of the definition. A comment says
what was assumed. There may be two curl commands: a token request, and a call with the token.

Give the curl command by standard input. Other users of a machine can read the arguments of a
program.`

const newProviderExamples = `  broker providers new -o acme.yaml
  broker providers new --from-curl -o acme.yaml < command.txt
  pbpaste | broker providers new --from-curl`

// howToGiveCurl completes errors about the command line, which quote nothing of it, because it may
// contain a curl command with secrets.
const howToGiveCurl = "give the curl command by standard input, or in quotes after --from-curl, or word by word after --from-curl --"

const maxCurlText = 256 << 10 // bytes

type newProviderFlags struct {
	fromCurl bool
	output   string
}

func newProvidersNew() *cobra.Command {
	f := new(newProviderFlags)
	command := &cobra.Command{
		Use:     "new [--from-curl [COMMAND]] [-o FILE]",
		Short:   "Writes the definition of a provider, from answers or from a curl command",
		Long:    newProviderHelp,
		Example: newProviderExamples,
		Args: func(_ *cobra.Command, args []string) error {
			if f.fromCurl || len(args) == 0 {
				return nil
			}
			return misused("arguments need the flag --from-curl: %s", howToGiveCurl)
		},
		RunE: explained(func(command *cobra.Command, args []string) error { return f.run(command, args) }),
	}
	command.SetFlagErrorFunc(func(*cobra.Command, error) error {
		return misused("unknown flag, or a wrong value of a flag; the flags are --from-curl and -o FILE: %s", howToGiveCurl)
	})
	command.Flags().BoolVar(&f.fromCurl, "from-curl", false, "read a curl command from standard input, or from the arguments")
	command.Flags().StringVarP(&f.output, "output", "o", "", "write the definition to a new `FILE`, not to standard output")
	must(command.MarkFlagFilename("output", "yaml"))
	return command
}

func (f *newProviderFlags) run(command *cobra.Command, args []string) error {
	screen := newScreen(command.ErrOrStderr())
	if _, err := os.Lstat(f.output); err == nil { // nobody should answer questions in vain
		return errExists(f.output)
	}
	definition, err := f.draft(command.InOrStdin(), screen, args)
	if err != nil {
		return err
	}
	text, err := definition.YAML()
	switch {
	case err != nil:
		return err
	case f.output == "":
		_, err = command.OutOrStdout().Write(text)
		return err
	}
	if err := writeNew(f.output, string(text), 0o644); err != nil {
		return err
	}
	_, err = fmt.Fprintf(screen, "%s: written. Complete it as its comments say, and try it: broker providers try %[1]s\n", f.output)
	return err
}

func (f *newProviderFlags) draft(input io.Reader, screen *screen, args []string) (*draft.Definition, error) {
	if !f.fromCurl {
		p := newPrompter(input, screen)
		if p == nil {
			return nil, misused("there is no terminal to ask questions: use --from-curl")
		}
		return (&interview{prompter: p}).definition()
	}
	commands, err := readCurl(input, screen, args)
	if err != nil {
		return nil, err
	}
	return draft.FromCurl(commands)
}

// readCurl reads curl commands from the arguments, or from standard input if there are none. One
// argument is a text for a shell; several are the words of one command.
func readCurl(input io.Reader, screen *screen, args []string) ([]*curlcommand.Command, error) {
	switch len(args) {
	case 0:
		if isTerminal(input) {
			fmt.Fprintln(screen, "Paste the curl command, then press Enter and Ctrl-D.")
		}
		text, err := regularfile.ReadAll(input, maxCurlText)
		if err != nil {
			return nil, fmt.Errorf("standard input %w", err)
		}
		return curlcommand.Parse(string(text))
	case 1:
		return curlcommand.Parse(args[0])
	}
	if path.Base(args[0]) == "curl" {
		args = args[1:]
	}
	one, err := curlcommand.Read(args)
	return []*curlcommand.Command{one}, err
}
