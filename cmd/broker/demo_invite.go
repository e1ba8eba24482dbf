package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/simulated"
)

const tryIt = `
  make grpcurl
  .bin/grpcurl -plaintext 127.0.0.1:50051 list
  .bin/grpcurl -plaintext -d '{"credential_id": "sendpulse-oauth"}' \
      127.0.0.1:50051 authmaterial.v1.BrokerService/GetAuthDecoration
  .bin/grpcurl -plaintext -d '{"credential_ids": ["pulsedive", "pendo", "no-such-one"]}' \
      127.0.0.1:50051 authmaterial.v1.BrokerService/BatchGetAuthDecorations

`

// invite prints how people reach the broker and its console, values for a credential that they can add
// there, and the URL of the simulated provider of a call.
func invite(
	ctx context.Context, out io.Writer, broker *server.Server, on server.Listeners, sim *simulator.Simulator, call simulated.Call, url string,
) error {
	link, _, err := broker.SignInLink(ctx, authentication.Evidence{Address: "console", PrivateSocket: true})
	if err != nil {
		return err
	}
	add, err := toAdd(sim, call)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, `
Serving on %s; metrics on http://%s/metrics. Ctrl-C stops.

Open the console in a browser. This link works once, within 5 minutes. Start the demo again for another link:

  %s

%s
In another terminal, call the simulated provider of %s with curl, or with a program that uses
one of the broker's clients:

  .bin/broker curl %s -- -sS %s

`, on.GRPC.Addr(), on.HTTP.Addr(), link, add, call.Credential, call.Credential, url)
	if call.Account == nil {
		fmt.Fprint(out, "Or get credentials as a service does:\n"+tryIt)
	}
	return nil
}

// toAdd returns text about a credential that people can add in the console.
func toAdd(sim *simulator.Simulator, call simulated.Call) (string, error) {
	if call.Account == nil {
		return "To add a credential there, choose Pendo. The simulated Pendo accepts this key:\n\n  " + sim.Pendo.AddKey("app.pendo.io") + "\n", nil
	}
	another, err := sim.AddAccount(simulator.AccountConfig{Provider: call.Provider, AuthMethod: call.AuthMethod})
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("To add a credential there, choose the provider %s and the auth method %s. The simulated\nprovider accepts these values:\n\n", call.Provider, call.AuthMethod)
	values := another.Values()
	for _, field := range slices.Sorted(maps.Keys(values)) {
		text += fmt.Sprintf("  %s: %s\n", field, values[field])
	}
	return text, nil
}
