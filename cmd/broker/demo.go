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
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/simulated"
)

// demoTimeout limits the time for one credential.
const demoTimeout = 15 * time.Second

func newDemo() *cobra.Command {
	var stay bool
	var providers []string
	command := &cobra.Command{
		Use:   "demo",
		Short: "Shows the broker at work with simulated providers",
		Long: `Runs the broker and simulators of SendPulse, Pulsedive, Pendo and SpotDraft in this
process, on loopback ports. For one credential of each auth method it asks the broker
over gRPC, and makes the provider's API call with the response. Then it adds a
credential to the running broker, rotates its secret, and rolls back. With --stay, it
leaves this to you: it keeps serving, and prints a link to the console. Nothing leaves
this machine.

With --provider, it simulates other built-in providers from their definitions, and
shows what happens when they reject the credential.`,
		Example: "  broker demo\n  broker demo --provider mailgun --provider zendesk\n  broker demo --stay",
		Args:    noArgs,
		RunE: explained(func(command *cobra.Command, _ []string) error {
			err := demo(command.Context(), command.OutOrStdout(), command.ErrOrStderr(), stay, providers)
			if errors.Is(err, syscall.EADDRINUSE) {
				err = fmt.Errorf("%w\n  %s", err, "Stop the process that listens there, such as another 'make run' or broker.")
			}
			return err
		}),
	}
	command.Flags().BoolVar(&stay, "stay", false, "keep serving on 127.0.0.1:50051, with a console on 127.0.0.1:8081, until interrupted")
	command.Flags().StringArrayVar(&providers, "provider", nil, "the `ID` of a built-in provider; may be repeated")
	return command
}

func demo(ctx context.Context, stdout, stderr io.Writer, stay bool, providers []string) error {
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if stay {
		forbidCoreDumps(logger)
	}
	sim, err := simulator.New()
	if err != nil {
		return err
	}
	defer sim.Close() //nolint:errcheck // the process ends
	calls, err := demoCalls(sim, providers)
	if err != nil {
		return err
	}
	var provider *demoProvider
	if stay {
		if provider, err = newDemoProvider(ctx, sim, calls[0]); err != nil {
			return err
		}
		defer provider.close()
	}
	folder, err := os.MkdirTemp("", "broker-demo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // the process ends
	loaded, err := loadDemo(sim, folder, provider, calls)
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
	shown := showAll(ctx, stdout, on.GRPC.Addr(), sim, calls)
	switch {
	case shown == nil && stay:
		if shown = invite(ctx, stdout, broker, on, sim, calls[0], provider.url); shown == nil {
			<-ctx.Done()
		}
	case shown == nil:
		if calls[0].Account == nil {
			fmt.Fprint(stdout, "\nTo try it yourself, run 'make run' in another terminal. It prints a link to the console, the web\n"+
				"pages on which people manage credentials. To get credentials as a service does, run here:\n"+tryIt)
		}
	}
	stop()
	return errors.Join(shown, <-served)
}

func showAll(ctx context.Context, out io.Writer, address net.Addr, sim *simulator.Simulator, calls []simulated.Call) error {
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
	for _, call := range calls {
		rows, err := demonstrate(ctx, connection, providers, call)
		if err != nil {
			return fmt.Errorf("%s: %w", call.Credential, err)
		}
		table = append(table, rows...)
	}
	of := "four simulated providers"
	if calls[0].Account != nil {
		of = "providers that are simulated from their definitions"
	}
	fmt.Fprintf(out, "The broker and %s run in this process.\n\n", of)
	head := []string{"CREDENTIAL", "ADDED TO THE REQUEST", "EXPIRES IN", "THE PROVIDER'S ANSWER"}
	err = newScreen(out).printTable(head, table)
	switch {
	case err != nil || !private:
		return err
	case calls[0].Account != nil:
		return showRejections(ctx, out, connection, providers, calls)
	default:
		return showManaged(ctx, out, connection, sim)
	}
}

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
