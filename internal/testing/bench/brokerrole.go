package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
)

// serveBroker runs the broker as `broker serve` does, with providers that are simulated in the same
// process. A warm call sends no request to these providers.
func serveBroker(ctx context.Context, told task, answer func(any) error) error {
	sim, err := simulator.New()
	if err != nil {
		return err
	}
	defer sim.Close() //nolint:errcheck // an error of Close does not matter, because the process ends
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	broker, cost, reload, err := startBroker(told, sim, server.Options{Logger: logger, TokenTransport: sim.Transport(), Version: "bench"})
	if err != nil {
		return err
	}
	grpcListener, httpListener, err := listen(ctx)
	if err != nil {
		return err
	}
	answering := endpointOf(grpcListener, httpListener)
	if told.Certificates != "" {
		answering.Certificates = told.Certificates
		answering.Metrics = strings.Replace(answering.Metrics, "http:", "https:", 1)
	}
	answering.Footprint = cost
	if answering.Change, err = serveChanges(ctx, reload); err != nil {
		return err
	}
	on := server.Listeners{GRPC: grpcListener, HTTP: httpListener}
	if told.Console {
		if on.Console, answering.SignIn, err = listenConsole(ctx, broker); err != nil {
			return errors.Join(err, grpcListener.Close(), httpListener.Close())
		}
	}
	if err := answer(answering); err != nil {
		return errors.Join(err, grpcListener.Close(), httpListener.Close())
	}
	return broker.Run(ctx, on)
}

// listenConsole returns a listener for the console, and a link with its address.
func listenConsole(ctx context.Context, broker *server.Server) (listener net.Listener, link string, err error) {
	if listener, err = broker.ListenConsole(ctx); err != nil {
		return nil, "", err
	}
	link, _, err = broker.SignInLink(ctx, authentication.Evidence{Address: "bench", PrivateSocket: true})
	return listener, link, err
}

func listen(ctx context.Context) (grpcListener, httpListener net.Listener, err error) {
	free := config.Address{Network: "tcp", Address: "127.0.0.1:0"}
	grpcListener, err = server.Listen(ctx, free, 0)
	if err != nil {
		return nil, nil, err
	}
	httpListener, err = server.Listen(ctx, free, 0)
	if err != nil {
		return nil, nil, errors.Join(err, grpcListener.Close())
	}
	return grpcListener, httpListener, nil
}

func endpointOf(grpcListener, httpListener net.Listener) endpoint {
	return endpoint{
		GRPC:    grpcListener.Addr().String(),
		Process: os.Getpid(),
		Metrics: "http://" + httpListener.Addr().String() + "/metrics",
	}
}
