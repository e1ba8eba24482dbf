package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	var path, data, http, console string
	level := &choice{value: "info", allowed: []string{"debug", "info", "warn", "error"}}
	format := &choice{value: "text", allowed: []string{"text", "json"}}
	command := &cobra.Command{
		Use:   "serve {--config FILE | --data DIR}",
		Short: "Serves credentials",
		Long: `Serves the credentials of a configuration file, and the managed credentials of its store,
over gRPC, and /metrics, /livez and /readyz over HTTP.

With --data, the broker needs no configuration file. It keeps managed credentials in the
folder DIR, and serves the user who started it, over the Unix socket DIR/broker.sock. Over
HTTP, callers need the token in DIR/admin.token. The broker prints a link to the console:
the web pages on which people manage credentials. 'broker console' prints another link.

The configuration file and the files that it names are read again when they change, and on
SIGHUP. If the new configuration has problems, the previous one stays in use. SIGHUP also
retries credentials that a provider rejected, and reopens the audit file. Changes of
environment variables, 'listen', 'limits', 'audit', 'token_cache', 'console' and the database
and keys of 'store' need a restart.

SIGTERM and SIGINT stop the broker when the calls in progress have finished; a second one
stops it at once.`,
		Args: noArgs,
		RunE: explained(func(command *cobra.Command, _ []string) error {
			logger := newLogger(command.ErrOrStderr(), level.value, format.value)
			if data == "" {
				loader := config.NewLoader(path)
				return adviseListen(serve(command.Context(), loader.Load, logger, func(*server.Server) {}), "listen.grpc", "listen.http", "console.address")
			}
			if err := checkConsole(console); err != nil {
				return err
			}
			folder, err := openDataFolder(data, http, console)
			if err != nil {
				return err
			}
			load := func(config.Options) (*config.Config, error) { return folder.load() }
			greet := func(broker *server.Server) { folder.greet(command.Context(), command.OutOrStdout(), broker) }
			return adviseListen(serve(command.Context(), load, logger, greet), "--data", "--http", "--console")
		}),
	}
	addConfigFlag(command, &path, "the configuration file")
	command.Flags().StringVar(&data, "data", "", "the folder for managed credentials, instead of a configuration file")
	command.Flags().StringVar(&http, "http", "127.0.0.1:9464", "with --data, the address of the HTTP listener")
	command.Flags().StringVar(&console, "console", "127.0.0.1:8081", "with --data, the address of the console, or 'off'")
	command.MarkFlagsOneRequired("config", "data")
	command.MarkFlagsMutuallyExclusive("config", "data")
	command.MarkFlagsMutuallyExclusive("config", "http")
	command.MarkFlagsMutuallyExclusive("config", "console")
	addChoice(command, level, "log-level", "", "the least severe level of log lines to write")
	addChoice(command, format, "log-format", "", "the format of log lines")
	return command
}

func newLogger(out io.Writer, level, format string) *slog.Logger {
	var least slog.Level
	_ = least.UnmarshalText([]byte(level)) // UnmarshalText cannot fail, because the flag accepts only names of levels
	options := &slog.HandlerOptions{Level: least}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}

// serve loads a configuration and serves it until a signal arrives. As soon as the broker listens,
// serve calls `greet`.
func serve(ctx context.Context, load func(config.Options) (*config.Config, error), logger *slog.Logger, greet func(*server.Server)) error {
	hangups := make(chan os.Signal, 1) // the buffer keeps a SIGHUP that arrives while the configuration is read
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	forbidCoreDumps(logger)
	traces := observe.Start(ctx, version, logger)
	defer traces.Stop()
	var broker *server.Server
	loop, err := reload.New(func(reading func(string)) error {
		read := func() (*config.Config, error) { return load(config.Options{Reading: reading}) }
		defer limitMemory()
		if broker != nil {
			return broker.Reload(read)
		}
		loaded, err := read()
		if err != nil {
			return err
		}
		broker, err = server.New(server.Options{Config: loaded, Logger: logger, Traces: traces, Version: version})
		return err
	})
	if err != nil {
		return err
	}
	on, err := listen(ctx, broker)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx, logger)
	defer stop()
	reloading := make(chan struct{})
	go func() {
		defer close(reloading)
		loop.Run(ctx, onHangup(ctx, hangups, broker, logger))
	}()
	logger.Info("serving", append([]any{"version", version}, addressesOf(broker, on)...)...)
	broker.WarnOfExposure()
	greet(broker)
	err = broker.Run(ctx, on)
	stop()
	<-reloading
	logger.Info("stopped")
	return err
}

// listen opens the listeners of a broker. If one of them cannot be opened, the others are closed.
func listen(ctx context.Context, broker *server.Server) (on server.Listeners, err error) {
	where := broker.Listen()
	defer func() {
		for _, opened := range []net.Listener{on.GRPC, on.HTTP} {
			if err != nil && opened != nil {
				_ = opened.Close()
			}
		}
	}()
	if on.GRPC, err = server.Listen(ctx, where.GRPC, where.SocketMode); err != nil {
		return on, listenError{err, atGRPC}
	}
	if on.HTTP, err = server.Listen(ctx, where.HTTP, where.SocketMode); err != nil {
		return on, listenError{err, atHTTP}
	}
	if on.Console, err = broker.ListenConsole(ctx); err != nil {
		return on, listenError{err, atConsole}
	}
	return on, nil
}

// addressesOf returns the addresses of a broker, as attributes of a log line.
func addressesOf(broker *server.Server, on server.Listeners) []any {
	all := []any{"grpc", on.GRPC.Addr().String(), "http", on.HTTP.Addr().String()}
	if on.Console != nil {
		all = append(all, "console", on.Console.Addr().String(), "url", broker.ConsoleURL())
	}
	return all
}

// These are the listeners of a broker.
const (
	atGRPC = iota
	atHTTP
	atConsole
)

// listenError is the error of a broker that cannot open one of its listeners.
type listenError struct {
	error
	at int
}

// Unwrap returns the cause.
func (e listenError) Unwrap() error { return e.error }

// adviseListen adds advice to the error of a broker that cannot listen. The settings, or flags, for
// the addresses of the listeners have the given names, in the order of the constants.
func adviseListen(err error, names ...string) error {
	var failed listenError
	if !errors.As(err, &failed) {
		return err
	}
	place := names[failed.at]
	for cause, advice := range map[error]string{
		syscall.EADDRINUSE:    "Stop the process that listens there, such as another broker, or change " + place + ".",
		syscall.EADDRNOTAVAIL: "This machine does not have the address: change " + place + ".",
		syscall.EACCES:        "This user may not listen there: use a port from 1024 on, or a folder of this user.",
		syscall.EROFS:         "The folder is on a read-only file system: name another folder under " + place + ".",
		syscall.ENOENT:        "The folder does not exist: create it, or name another folder under " + place + ".",
	} {
		if errors.Is(err, cause) {
			return fmt.Errorf("%w\n  %s", err, advice)
		}
	}
	return err
}

// onHangup handles each SIGHUP until the process ends: it reopens the audit file, retries
// rejected credentials, and then passes the signal on so that the configuration is reloaded.
func onHangup(ctx context.Context, hangups <-chan os.Signal, broker *server.Server, log *slog.Logger) <-chan struct{} {
	passed := make(chan struct{})
	go func() {
		for range hangups {
			broker.ReopenAudit()
			if err := broker.ForgetFailures(ctx); err != nil {
				log.Error("rejected credentials are not retried: the token cache failed", "type", fmt.Sprintf("%T", err))
			}
			passed <- struct{}{}
		}
	}()
	return passed
}
