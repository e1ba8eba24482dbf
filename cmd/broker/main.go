// Command broker is the auth-material broker: it hands out the headers and query parameters with
// which services authenticate to SaaS APIs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

// Exit codes.
const (
	exitOK      = 0
	exitProblem = 1 // the command failed and has printed why
	exitUsage   = 2 // the command line is wrong
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	rejectUnknownCommands(root)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if failure, ok := errors.AsType[problem](err); ok {
		if status, ok := errors.AsType[exitStatus](failure.error); ok {
			return int(status)
		}
		fmt.Fprintln(stderr, failure)
		return exitProblem
	}
	fmt.Fprintf(stderr, "broker: %s\nTry '%s --help'.\n", reworded(err), command.CommandPath())
	return exitUsage
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "broker",
		Short: "Hands out the headers and query parameters that authenticate calls to SaaS APIs",
		Long: `The auth-material broker knows how each SaaS API authenticates its callers.
A service names a credential over gRPC and gets the headers and query parameters
for its next request.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          needCommand,
	}
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.AddCommand(newServe(), newCheck(), newHealth(), newGet(), newCurl(), newStatus(), newConsole(), newApply(), newDiff(), newExport(), newBackup(), newRestore(), newProviders(), newDemo(), newKeygen(), newVersion(),
		newGroup("credentials", "Lists and manages credentials", newCredentialsList(), newCredentialsShow(), newCredentialsCreate(),
			newCredentialsEdit(), newCredentialsVerify(), newCredentialsRotate(), newCredentialsVersions(), newCredentialsActivate(),
			newCredentialsWithdraw(), newCredentialsDestroy(), newCredentialsDelete(), newCredentialsRestore(), newCredentialsEvents()),
		newGroup("store", "Maintains the credential store", newStoreRekey(), newStoreMigrate(), newStoreCheck()),
		newGroup("token", "Makes static tokens for callers", newTokenNew()))
	return root
}

// newGroup returns a command that only contains other commands.
func newGroup(use, short string, children ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{Use: use, Short: short, RunE: needCommand}
	group.AddCommand(children...)
	return group
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Prints the version",
		Args:  noArgs,
		RunE: explained(func(command *cobra.Command, _ []string) error {
			platform := runtime.GOOS + "/" + runtime.GOARCH
			_, err := fmt.Fprintln(command.OutOrStdout(), "broker", version, runtime.Version(), platform)
			return err
		}),
	}
}

// problem is an error whose cause is not a wrong command line.
type problem struct{ error }

// misuse is an error whose cause is the command line, although a command's function found it.
type misuse struct{ error }

func misused(format string, args ...any) error { return misuse{fmt.Errorf(format, args...)} }

// explained makes each error of a command's function a `problem`, unless it is a `misuse`. Any
// other error comes from cobra, and means that the command line is wrong.
func explained(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, args []string) error {
		err := run(command, args)
		if _, ok := errors.AsType[misuse](err); err == nil || ok {
			return err
		}
		return problem{err}
	}
}

// needCommand runs for a command that only contains other commands, and returns an error that
// lists them.
func needCommand(command *cobra.Command, args []string) error {
	var names []string
	for _, child := range command.Commands() {
		if child.IsAvailableCommand() {
			names = append(names, child.Name())
		}
	}
	switch {
	case len(args) == 0:
		return fmt.Errorf("%q needs a command: %s", command.CommandPath(), strings.Join(names, ", "))
	case len(names) == 0:
		return fmt.Errorf("%q has no command %q", command.CommandPath(), args[0])
	}
	return fmt.Errorf("%q has no command %q; it has: %s", command.CommandPath(), args[0], strings.Join(names, ", "))
}

// rejectUnknownCommands makes the commands that cobra adds, such as `help`, fail if their argument
// is an unknown command, instead of printing the help of the broker. Call rejectUnknownCommands
// after the output of the root command is set.
func rejectUnknownCommands(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, command := range root.Commands() {
		switch command.Name() {
		case "help":
			command.Args = func(_ *cobra.Command, path []string) error {
				found, rest, err := root.Find(path)
				if err == nil && len(rest) > 0 {
					err = needCommand(found, rest)
				}
				return err
			}
		case "completion":
			command.RunE = func(*cobra.Command, []string) error { return command.Help() }
		}
	}
}

// noArgs replaces cobra.NoArgs, because the error of cobra.NoArgs calls each argument an unknown
// command.
func noArgs(command *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if command.Flags().Lookup("config") != nil {
		hint = "; name the configuration file with --config FILE"
	}
	return fmt.Errorf("%q takes no argument, but got %q%s", command.CommandPath(), args[0], hint)
}
