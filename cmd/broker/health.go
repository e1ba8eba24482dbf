package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// healthTimeout is how long health waits unless it is told.
const healthTimeout = 3 * time.Second

func newHealth() *cobra.Command {
	var broker connection
	var timeout time.Duration
	command := &cobra.Command{
		Use:   "health",
		Short: "Says whether a broker serves",
		Long: `Asks a broker whether it serves, by grpc.health.v1. Where nobody answers yet, it goes
on trying until the timeout. It is what a container, in which there is no other program,
is probed with. No proof of who calls is needed; one that is given is sent.

` + connectionHelp + `

Exit status: 0 when the broker serves, 1 when it does not.`,
		Args:    noArgs,
		PreRunE: func(command *cobra.Command, _ []string) error { return broker.checkFlags(command.Flags()) },
		RunE: explained(func(command *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(command.Context(), timeout)
			defer cancel()
			if err := checkHealth(ctx, &broker, command.InOrStdin()); err != nil {
				return fmt.Errorf("%s: %w", &broker.address, err)
			}
			_, err := fmt.Fprintln(command.OutOrStdout(), "serving")
			return err
		}),
	}
	broker.addFlags(command)
	command.Flags().DurationVar(&timeout, "timeout", healthTimeout, "how long to wait for an answer")
	completeNothing(command, "timeout")
	return command
}

// checkHealth fails unless the broker serves. It does not go on trying where that is of no
// use, such as with a certificate that is not trusted.
func checkHealth(ctx context.Context, broker *connection, input io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	broker.handshakes.final = cancel
	connection, err := broker.open(input)
	if err != nil {
		return err
	}
	defer connection.Close() //nolint:errcheck // nothing is lost
	answer, err := grpc_health_v1.NewHealthClient(connection).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
	switch seen := broker.unconnected(); {
	case status.Code(err) == codes.Unimplemented:
		return errors.New("what answers there is no broker")
	case err != nil && seen != nil:
		return fmt.Errorf("no connection: %w", seen)
	case err != nil:
		return errors.New("no answer: " + printable(status.Convert(err).Message()))
	case answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING:
		return errors.New("the broker does not serve: " + answer.GetStatus().String())
	}
	return nil
}
