package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/observe"
	"github.com/authmaterial/broker/internal/reload"
	"github.com/authmaterial/broker/internal/server"
)

func newServe() *cobra.Command {
	var path string
	var log logFlags
	command := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Serves the credentials of a configuration file",
		Long: `Serves the credentials of a configuration file over gRPC, and /metrics, /livez and
/readyz over HTTP.

The file and the files that it names are read again when they change, and on SIGHUP. A
file with problems changes nothing. SIGHUP also lets credentials that a provider refused
be tried again at once, and opens the audit file anew. Environment variables, 'listen',
'limits', 'audit' and 'token_cache' take a restart.

SIGTERM and SIGINT let calls that are under way finish; a second one ends at once.`,
		Args: noArgs,
		RunE: explained(func(command *cobra.Command, _ []string) error {
			return serve(command.Context(), path, log.newLogger(command.ErrOrStderr()))
		}),
	}
	addConfigFlag(command, &path)
	log.add(command)
	return command
}

// serve runs the broker until a signal or an error.
func serve(ctx context.Context, path string, logger *slog.Logger) error {
	hangups := make(chan os.Signal, 1) // one that comes early is kept
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	withoutCoreDumps(logger)
	traces := observe.Start(ctx, version, logger)
	defer traces.Stop()
	var broker *server.Server
	loop, err := reload.New(func(reading func(string)) error {
		load := func() (*config.Config, error) { return config.Load(path, config.Options{Reading: reading}) }
		defer boundMemory()
		if broker != nil {
			return broker.Reload(load)
		}
		loaded, err := load()
		if err != nil {
			return err
		}
		broker, err = server.New(server.Options{Config: loaded, Logger: logger, Traces: traces, Version: version})
		return err
	}, logger)
	if err != nil {
		return err
	}
	grpcListener, httpListener, err := listen(ctx, broker.Listen())
	if err != nil {
		loop.Close()
		return adviseListen(err)
	}
	ctx, stop := context.WithCancel(untilSignal(ctx, logger))
	defer stop()
	reloading := make(chan struct{})
	go func() {
		defer close(reloading)
		loop.Run(ctx, onHangup(ctx, hangups, broker, logger))
	}()
	logger.Info("serving", "version", version, "grpc", grpcListener.Addr().String(), "http", httpListener.Addr().String())
	broker.WarnOfExposure()
	err = broker.Run(ctx, grpcListener, httpListener)
	stop()
	<-reloading
	logger.Info("stopped")
	return err
}

// listen opens both addresses, or none.
func listen(ctx context.Context, where config.Listen) (grpcListener, httpListener net.Listener, err error) {
	grpcListener, err = server.Listen(ctx, where.GRPC, where.SocketMode)
	if err != nil {
		return nil, nil, err
	}
	httpListener, err = server.Listen(ctx, where.HTTP, where.SocketMode)
	if err != nil {
		_ = grpcListener.Close()
		return nil, nil, err
	}
	return grpcListener, httpListener, nil
}

// adviseListen adds to an error of listen what to do about it.
func adviseListen(err error) error {
	for cause, advice := range map[error]string{
		syscall.EADDRINUSE:    "Stop the process that listens there, perhaps another broker, or change the address under 'listen'.",
		syscall.EADDRNOTAVAIL: "This machine has no such address: change it under 'listen'.",
		syscall.EACCES:        "The broker's user may not listen there: use a port from 1024 on, or a folder that this user may write to.",
		syscall.EROFS:         "The folder is on a read-only file system: name another under 'listen'.",
		syscall.ENOENT:        "The folder does not exist: create it, or name another under 'listen'.",
	} {
		if errors.Is(err, cause) {
			return fmt.Errorf("%w\n  %s", err, advice)
		}
	}
	return err
}

// onHangup lets refused credentials be tried again with each hangup until ctx ends, and
// passes it on.
func onHangup(ctx context.Context, hangups <-chan os.Signal, broker *server.Server, logger *slog.Logger) <-chan struct{} {
	passed := make(chan struct{})
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
			}
			broker.ReopenAudit()
			if err := broker.ForgetFailures(ctx); err != nil {
				logger.Error("failures could not be forgotten", "type", fmt.Sprintf("%T", err))
			}
			select {
			case <-ctx.Done():
			case passed <- struct{}{}:
			}
		}
	}()
	return passed
}
