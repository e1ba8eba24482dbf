package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
)

func newConsole() *cobra.Command {
	var c connection
	command := &cobra.Command{
		Use:   "console",
		Short: "Prints a link that signs in to the console",
		Long: `Prints a link that signs in one person, once, within 5 minutes, to the console: the web
pages on which people manage credentials. The person is signed in as the caller that ran
this command. The broker must have a console, and a Unix socket with mode 0600, to which
this command connects.

` + connectionHelp,
		Example: `  broker console --address unix://$HOME/broker/broker.sock`,
		Args:    noArgs,
	}
	c.addFlags(command, getTimeout)
	command.PreRunE = func(command *cobra.Command, _ []string) error {
		if err := c.checkFlags(command.Flags()); err != nil {
			return err
		}
		if !c.isSocket() {
			return fmt.Errorf("'broker console' needs the address of the broker's Unix socket\n  %s", giveSocket)
		}
		return nil
	}
	command.RunE = explained(func(command *cobra.Command, _ []string) error {
		return c.connect(command, func(ctx context.Context, conn *grpc.ClientConn) error {
			made, err := authmaterialv1.NewConsoleServiceClient(conn).CreateSignInLink(ctx, &authmaterialv1.CreateSignInLinkRequest{})
			if status.Code(err) == codes.Unimplemented {
				return errors.New("the broker has no console: add the section 'console' to its configuration file, or start 'broker serve --data' without '--console off'")
			}
			if err != nil {
				return c.explainFailure(ctx, "", err, consoleAdvice)
			}
			_, err = fmt.Fprintln(command.OutOrStdout(), made.GetUrl())
			return err
		})
	})
	return command
}

const giveSocket = "Give the socket: broker console --address unix:///PATH/broker.sock. In the broker's log, the line with msg=serving names the socket as grpc="

// consoleAdvice maps the reason of an error of ConsoleService to advice for the user.
var consoleAdvice = map[string]string{
	"AUTHENTICATION_UNAVAILABLE": whatToDo["AUTHENTICATION_UNAVAILABLE"],
	"SERVER_STOPPING":            whatToDo["SERVER_STOPPING"],
	"INTERNAL":                   whatToDo["INTERNAL"],
}
