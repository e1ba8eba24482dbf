package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/simulated"
)

// demoTimeout bounds each call of the demo.
const demoTimeout = 15 * time.Second

func newDemo() *cobra.Command {
	var stay bool
	command := &cobra.Command{
		Use:   "demo",
		Short: "Shows the broker at work with simulated providers",
		Long: `Runs the broker and simulators of the four built-in providers in this process, on
loopback ports. For one credential of each auth method it asks the broker over gRPC,
and makes the provider's API call with the answer. Nothing leaves this machine.`,
		Args: noArgs,
		RunE: explained(func(command *cobra.Command, _ []string) error {
			return demo(command.Context(), command.OutOrStdout(), command.ErrOrStderr(), stay)
		}),
	}
	command.Flags().BoolVar(&stay, "stay", false, "keep serving on 127.0.0.1:50051 until interrupted")
	return command
}

// demo runs the broker and the simulator, and shows each credential at work.
func demo(ctx context.Context, stdout, stderr io.Writer, stay bool) error {
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if stay {
		withoutCoreDumps(logger)
	}
	sim, err := simulator.New()
	if err != nil {
		return err
	}
	defer sim.Close() //nolint:errcheck // the process ends
	loaded, err := config.Parse("demo.yaml", simulated.Config, config.Options{LookupEnv: simulated.Environment(sim)})
	if err != nil {
		return err
	}
	broker, err := server.New(server.Options{Config: loaded, Logger: logger, TokenTransport: sim.Transport(), Version: version})
	if err != nil {
		return err
	}
	where := loaded.Listen
	if !stay {
		free := config.Address{Network: "tcp", Address: "127.0.0.1:0"}
		where.GRPC, where.HTTP = free, free
	}
	grpcListener, httpListener, err := listen(ctx, where)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ctx = untilSignal(ctx, logger)
	served := make(chan error, 1)
	go func() { served <- broker.Run(ctx, grpcListener, httpListener) }()

	shown := showAll(ctx, stdout, grpcListener.Addr().String(), sim)
	if shown == nil && stay {
		fmt.Fprintf(stdout, "Serving on %s; metrics on http://%s/metrics. Ctrl-C stops.\n", grpcListener.Addr(), httpListener.Addr())
		<-ctx.Done()
	}
	stop()
	return errors.Join(shown, <-served)
}
