package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
)

const (
	healthTimeout = 3 * time.Second        // default of --timeout
	healthRetry   = 100 * time.Millisecond // delay between attempts to connect
)

func newHealth() *cobra.Command {
	var broker connection
	command := &cobra.Command{
		Use:   "health",
		Short: "Reports whether a broker serves",
		Long: `Asks a broker whether it serves, by grpc.health.v1. While no broker answers, the command
tries again until the timeout. It is meant for probes in a container that has no other
program. The broker answers every caller; a token or certificate is sent if one is given.

` + connectionHelp + `

Exit status: 0 when the broker serves, 1 when it does not.`,
		Args:    noArgs,
		PreRunE: func(command *cobra.Command, _ []string) error { return broker.checkFlags(command.Flags()) },
		RunE: explained(func(command *cobra.Command, _ []string) error {
			if err := broker.connect(command, broker.checkHealth); err != nil {
				return err
			}
			_, err := fmt.Fprintln(command.OutOrStdout(), "serving")
			return err
		}),
	}
	broker.addFlags(command, healthTimeout)
	return command
}

// checkHealth returns an error unless the broker serves. Until ctx ends, it retries after errors
// that another attempt may fix, but not, for example, if a certificate is not trusted.
func (c *connection) checkHealth(ctx context.Context, conn *grpc.ClientConn) error {
	for {
		response, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		if err == nil && response.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING {
			return nil
		}
		if err == nil {
			return fmt.Errorf("the broker on %s does not serve: %s", c.address, response.GetStatus())
		}
		again, explained := c.explainCall(ctx, err)
		if !again {
			return explained
		}
		select {
		case <-ctx.Done():
			return explained
		case <-time.After(healthRetry):
			conn.ResetConnectBackoff()
		}
	}
}
