package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
)

func newServe() *cobra.Command {
	var path, level, format string
	command := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Serves the credentials of a configuration file",
		Long: `Serves the credentials of a configuration file over gRPC, and /metrics, /livez and
/readyz over HTTP.

SIGTERM and SIGINT let calls that are under way finish; a second one ends at once.
SIGHUP lets credentials that a provider refused be tried again at once.`,
		Args: cobra.NoArgs,
		RunE: explained(func(command *cobra.Command, _ []string) error {
			logger, err := newLogger(command.ErrOrStderr(), level, format)
			if err != nil {
				return err
			}
			return serve(command.Context(), path, logger)
		}),
	}
	addConfigFlag(command, &path)
	command.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	command.Flags().StringVar(&format, "log-format", "text", "text or json")
	return command
}

// newLogger returns a logger for the values of the flags.
func newLogger(out io.Writer, level, format string) (*slog.Logger, error) {
	options := &slog.HandlerOptions{}
	var parsed slog.Level
	if err := parsed.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level must be debug, info, warn or error, and is %q", level)
	}
	options.Level = parsed
	switch strings.ToLower(format) {
	case "text":
		return slog.New(slog.NewTextHandler(out, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(out, options)), nil
	default:
		return nil, fmt.Errorf("--log-format must be text or json, and is %q", format)
	}
}

// serve runs the broker until a signal or an error.
func serve(ctx context.Context, path string, logger *slog.Logger) error {
	loaded, err := config.Load(path, config.Options{})
	if err != nil {
		return err
	}
	broker, err := server.New(server.Options{Config: loaded, Logger: logger, Version: version})
	if err != nil {
		return err
	}
	grpcListener, err := server.Listen(ctx, loaded.Listen.GRPC, loaded.Listen.SocketMode)
	if err != nil {
		return err
	}
	httpListener, err := server.Listen(ctx, loaded.Listen.HTTP, loaded.Listen.SocketMode)
	if err != nil {
		_ = grpcListener.Close()
		return err
	}
	ctx = untilSignal(ctx, broker, logger)
	logger.Info("serving",
		"version", version,
		"grpc", grpcListener.Addr().String(),
		"http", httpListener.Addr().String(),
		"credentials", loaded.Credentials.Len())
	if loaded.Listen.GRPC.Network == "tcp" {
		logger.Warn("callers are not authenticated: every user of this machine gets the secrets; a Unix socket limits them to one user")
	}
	err = broker.Run(ctx, grpcListener, httpListener)
	logger.Info("stopped")
	return err
}

// untilSignal returns a context that ends with the first SIGTERM or SIGINT. A second
// one then ends the process as it would without the broker's doing.
func untilSignal(ctx context.Context, broker *server.Server, logger *slog.Logger) context.Context {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, func() {
		stop()
		logger.Info("stopping")
	})
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		for range hangup {
			if err := broker.ForgetFailures(ctx); err != nil {
				logger.Error("failures could not be forgotten", "type", fmt.Sprintf("%T", err))
				continue
			}
			logger.Info("refused credentials will be tried again")
		}
	}()
	return ctx
}
