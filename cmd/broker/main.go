// Command broker is the auth-material broker: it hands out the headers and query
// parameters with which services authenticate to SaaS APIs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

// Exit codes.
const (
	exitOK      = 0
	exitProblem = 1 // something that the broker explains
	exitUsage   = 2 // the command line is wrong
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	refuseUnknown(root)
	command, err := root.ExecuteContextC(ctx)
	var known *problem
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &known):
		fmt.Fprintln(stderr, known.Error())
		return exitProblem
	default:
		fmt.Fprintf(stderr, "broker: %v\nTry '%s --help'.\n", err, command.CommandPath())
		return exitUsage
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "broker",
		Short: "Hands out the headers and query parameters that authenticate calls to SaaS APIs",
		Long: `The auth-material broker knows how each SaaS API wants to be authenticated.
A service names a credential over gRPC and gets the headers and query parameters
for its next request.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("a command is needed")
		},
	}
	root.AddCommand(newServe(), newCheck(), newHealth(), newGet(), newProviders(), newCredentials(), newDemo(), newKeygen(), newToken(), newVersion())
	return root
}

// problem is an error that is not the command line's fault.
type problem struct{ err error }

func (p *problem) Error() string { return p.err.Error() }
func (p *problem) Unwrap() error { return p.err }

// explained marks the errors of a command as problems: whatever cobra itself finds is
// wrong usage.
func explained(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, args []string) error {
		if err := run(command, args); err != nil {
			return &problem{err}
		}
		return nil
	}
}
