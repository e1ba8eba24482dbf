package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/client"
	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/simulated"
)

// showAll prints a row for each credential, and the commands to try.
func showAll(ctx context.Context, out io.Writer, target string, sim *simulator.Simulator) error {
	connection, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close() //nolint:errcheck // nothing is lost
	fmt.Fprint(out, "The broker and four simulated providers, all in this process.\n\n")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CREDENTIAL\tTHE BROKER SAYS TO SET\tEXPIRES IN\tTHE PROVIDER'S ANSWER")
	var failed error
	for _, call := range simulated.Calls(sim) {
		if err := showOne(ctx, table, authmaterialv1.NewBrokerServiceClient(connection), sim, call); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", call.Credential, err))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprint(out, tryIt)
	return failed
}

// tryIt are commands for another terminal.
const tryIt = `
To try it yourself, let 'make run' serve in another terminal, and here:

  make grpcurl
  .bin/grpcurl -plaintext 127.0.0.1:50051 list
  .bin/grpcurl -plaintext -d '{"credential_id": "sendpulse-oauth"}' \
      127.0.0.1:50051 authmaterial.v1.BrokerService/GetAuthDecoration
  .bin/grpcurl -plaintext -d '{"credential_ids": ["pulsedive", "pendo", "no-such-one"]}' \
      127.0.0.1:50051 authmaterial.v1.BrokerService/BatchGetAuthDecorations

`

// showOne asks the broker for one credential, calls the provider, and prints a row.
func showOne(ctx context.Context, out io.Writer, broker authmaterialv1.BrokerServiceClient, sim *simulator.Simulator, call simulated.Call) error {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	response, err := broker.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: call.Credential})
	if err != nil {
		return err
	}
	decoration := response.GetAuthDecoration()
	before := call.Recognised()
	answer, err := callProvider(ctx, sim, call.URL, decoration)
	if err != nil {
		return err
	}
	verdict := "accepted"
	if call.Recognised() != before+1 {
		verdict, err = "NOT accepted", errors.New("the provider did not accept the material")
	}
	expiresIn := "never"
	if expiry := decoration.GetExpireTime(); expiry != nil {
		expiresIn = time.Until(expiry.AsTime()).Round(time.Second).String()
	}
	for i, line := range describe(decoration) {
		if i == 0 {
			fmt.Fprintf(out, "%s\t%s\t%s\t%s: %s\n", call.Credential, line, expiresIn, answer, verdict)
		} else {
			fmt.Fprintf(out, "\t%s\t\t\n", line)
		}
	}
	return err
}

// callProvider makes the API call as a service would, and returns the answer's status.
func callProvider(ctx context.Context, sim *simulator.Simulator, url string, decoration *authmaterialv1.AuthDecoration) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	if err := client.Apply(request, decoration); err != nil {
		return "", err
	}
	provider := sim.HTTPClient()
	defer provider.CloseIdleConnections()
	response, err := provider.Do(request)
	if err != nil {
		return "", errors.New("the provider cannot be reached") // the error quotes the URL, and with it a key
	}
	defer response.Body.Close()
	return response.Status, nil
}

// describe lists what a decoration adds, with its secrets shortened.
func describe(decoration *authmaterialv1.AuthDecoration) []string {
	var lines []string
	for _, header := range decoration.GetHeaders() {
		lines = append(lines, fmt.Sprintf("header %s: %s", header.GetName(), mask(header.GetValue())))
	}
	for _, param := range decoration.GetQueryParams() {
		lines = append(lines, fmt.Sprintf("query parameter %s=%s", param.GetName(), mask(param.GetValue())))
	}
	return lines
}

// shownCharacters is how much of a secret the demo shows.
const shownCharacters = 6

// mask shows the scheme and the first characters of a value.
func mask(value string) string {
	scheme, rest, found := strings.Cut(value, " ")
	if !found {
		scheme, rest = "", value
	} else {
		scheme += " "
	}
	return scheme + rest[:min(len(rest), shownCharacters)] + "…"
}
