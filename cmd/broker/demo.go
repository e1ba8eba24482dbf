package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/client"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/simulated"
)

// demoTimeout limits the time for one credential.
const demoTimeout = 15 * time.Second

func newDemo() *cobra.Command {
	var stay bool
	command := &cobra.Command{
		Use:   "demo",
		Short: "Shows the broker at work with simulated providers",
		Long: `Runs the broker and simulators of the four built-in providers in this process, on
loopback ports. For one credential of each auth method it asks the broker over gRPC,
and makes the provider's API call with the response. Then it adds a credential to the
running broker, rotates its secret, and rolls back. With --stay, it leaves this to you:
it keeps serving, and prints a link to the console. Nothing leaves this machine.`,
		Args: noArgs,
		RunE: explained(func(command *cobra.Command, _ []string) error {
			err := demo(command.Context(), command.OutOrStdout(), command.ErrOrStderr(), stay)
			if errors.Is(err, syscall.EADDRINUSE) {
				err = fmt.Errorf("%w\n  %s", err, "Stop the process that listens there, such as another 'make run' or broker.")
			}
			return err
		}),
	}
	command.Flags().BoolVar(&stay, "stay", false, "keep serving on 127.0.0.1:50051, with a console on 127.0.0.1:8081, until interrupted")
	return command
}

func demo(ctx context.Context, stdout, stderr io.Writer, stay bool) error {
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if stay {
		forbidCoreDumps(logger)
	}
	sim, err := simulator.New()
	if err != nil {
		return err
	}
	defer sim.Close() //nolint:errcheck // the process ends
	var provider *demoProvider
	if stay {
		if provider, err = newDemoProvider(ctx, sim); err != nil {
			return err
		}
		defer provider.close()
	}
	folder, err := os.MkdirTemp("", "broker-demo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // the process ends
	loaded, err := loadDemo(sim, folder, provider)
	if err != nil {
		return err
	}
	transport := sim.Transport()
	broker, err := server.New(server.Options{Config: loaded, Logger: logger, TokenTransport: transport, Version: version})
	if err != nil {
		return err
	}
	on, err := listen(ctx, broker)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx, logger)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- broker.Run(ctx, on) }()
	shown := showAll(ctx, stdout, on.GRPC.Addr(), sim)
	switch {
	case shown == nil && stay:
		if shown = invite(ctx, stdout, broker, on, sim, provider.url()); shown == nil {
			<-ctx.Done()
		}
	case shown == nil:
		fmt.Fprint(stdout, "\nTo try it yourself, run 'make run' in another terminal. It prints a link to the console, the web\n"+
			"pages on which people manage credentials. To get credentials as a service does, run here:\n"+tryIt)
	}
	stop()
	return errors.Join(shown, <-served)
}

// invite prints how people reach the broker and its console, a key that they can add there, and the
// URL of a simulated provider.
func invite(
	ctx context.Context, out io.Writer, broker *server.Server, on server.Listeners, sim *simulator.Simulator, url string,
) error {
	link, _, err := broker.SignInLink(ctx, authentication.Evidence{Address: "console", PrivateSocket: true})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, `
Serving on %s; metrics on http://%s/metrics. Ctrl-C stops.

Open the console in a browser. This link works once, within 5 minutes. Start the demo again for another link:

  %s

To add a credential there, choose Pendo. The simulated Pendo accepts this key:

  %s

In another terminal, call the simulated SendPulse with curl, or with a program that uses one of the
broker's clients:

  .bin/broker curl sendpulse-oauth -- -sS %s

Or get credentials as a service does:
`+tryIt, on.GRPC.Addr(), on.HTTP.Addr(), link, sim.Pendo.AddKey("app.pendo.io"), url)
	return nil
}

func showAll(ctx context.Context, out io.Writer, address net.Addr, sim *simulator.Simulator) error {
	target, private := "passthrough:///"+address.String(), address.Network() == "unix"
	if private {
		target = "unix://" + address.String()
	}
	connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close() //nolint:errcheck // an error of Close does not matter, because the responses were already read
	providers := sim.Transport()
	var table [][]string
	for _, call := range simulated.Calls(sim) {
		rows, err := demonstrate(ctx, connection, providers, call)
		if err != nil {
			return fmt.Errorf("%s: %w", call.Credential, err)
		}
		table = append(table, rows...)
	}
	fmt.Fprint(out, "The broker and four simulated providers run in this process.\n\n")
	head := []string{"CREDENTIAL", "ADDED TO THE REQUEST", "EXPIRES IN", "THE PROVIDER'S ANSWER"}
	err = newScreen(out).printTable(head, table)
	if err == nil && private {
		err = showManaged(ctx, out, connection, sim)
	}
	return err
}

const tryIt = `
  make grpcurl
  .bin/grpcurl -plaintext 127.0.0.1:50051 list
  .bin/grpcurl -plaintext -d '{"credential_id": "sendpulse-oauth"}' \
      127.0.0.1:50051 authmaterial.v1.BrokerService/GetAuthDecoration
  .bin/grpcurl -plaintext -d '{"credential_ids": ["pulsedive", "pendo", "no-such-one"]}' \
      127.0.0.1:50051 authmaterial.v1.BrokerService/BatchGetAuthDecorations

`

// demonstrate gets the material of one credential from the broker, calls the provider with the
// material as a service would, and returns the table rows about both calls.
func demonstrate(
	ctx context.Context, broker *grpc.ClientConn, providers http.RoundTripper, call simulated.Call,
) ([][]string, error) {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	asked := &authmaterialv1.GetAuthDecorationRequest{CredentialId: call.Credential}
	decorated, err := authmaterialv1.NewBrokerServiceClient(broker).GetAuthDecoration(ctx, asked)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, call.URL, nil)
	if err != nil {
		return nil, err
	}
	before := call.Recognised()
	caller := client.New(broker)
	defer caller.Close()
	response, err := caller.Transport(call.Credential, providers).RoundTrip(request)
	if err != nil {
		return nil, err
	}
	response.Body.Close()
	if call.Recognised() != before+1 {
		return nil, errors.New("the provider did not accept the material: " + response.Status)
	}
	decoration := decorated.GetAuthDecoration()
	expiresIn := "never"
	if expiry := decoration.GetExpireTime(); expiry != nil {
		expiresIn = time.Until(expiry.AsTime()).Round(time.Second).String()
	}
	var added [][]string
	for _, header := range decoration.GetHeaders() {
		added = append(added, []string{"", "header " + header.GetName() + ": " + shortened(header.GetValue()), "", ""})
	}
	for _, param := range decoration.GetQueryParams() {
		added = append(added, []string{"", "query parameter " + param.GetName() + "=" + shortened(param.GetValue()), "", ""})
	}
	added[0][0], added[0][2], added[0][3] = call.Credential, expiresIn, response.Status+": accepted"
	return added, nil
}

// shortened returns the authentication scheme and the first six characters of a secret.
func shortened(value string) string {
	secret := value[strings.LastIndexByte(value, ' ')+1:]
	return strings.TrimSuffix(value, secret) + secret[:min(len(secret), 6)] + "…"
}
