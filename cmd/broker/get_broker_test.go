package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/simulated"
)

// oddSecret contains characters that have a meaning for shells and in curl's configuration files.
const oddSecret = `a"b\n '$HOME' $(id) ` + "`id`" + ` %41 & c\`

const oddCredential = `
  - id: odd
    provider: odd
    auth_method: main
    values: {header: {env: ODD}, param: {env: ODD}}
  - id: conditional
    provider: conditional
    auth_method: main
    values: {client_id: {env: SENDPULSE_CLIENT_ID}, client_secret: {env: SENDPULSE_CLIENT_SECRET}}
providers:
  - id: conditional
    display_name: Conditional
    allowed_hosts: ["$HOST"]
    auth_methods:
      - id: main
        display_name: Main
        rejected_when:
          - {statuses: [200, 202], json: {ok: false, error.code: {not: 7}, error.text: a"b}}
          - {statuses: [403], headers: {X-Reason: expired}}
          - {statuses: [409], json: {}}
        fields:
          - {id: client_id, display_name: ID, required: true, secret: false}
          - {id: client_secret, display_name: Secret, required: true, secret: true}
        token_request: {url: "https://api.sendpulse.com/oauth/access_token", body: JSON, client_authentication: REQUEST_BODY}
        headers: [{name: X-Version, value: v1, only_if_absent: true}, {name: Authorization, value: "Bearer ${token}"}]
  - id: odd
    display_name: Odd
    allowed_hosts: ["$HOST"]
    auth_methods:
      - id: main
        display_name: Main
        fields:
          - {id: header, display_name: Header, required: true, secret: true}
          - {id: param, display_name: Parameter, required: true, secret: true}
        headers: [{name: X-Odd, value: "${header}"}]
        query_params: [{name: odd, value: "${param}"}]
`

// running is a broker in the test process. The clock of the broker does not advance.
type running struct {
	address string
	sim     *simulator.Simulator
}

// startBroker runs a broker until the test ends, and sets BROKER_ADDRESS to its address. The broker
// has one credential for each account of the simulator, and the credential in oddCredential. The
// material of oddCredential may be sent only to the given host.
func startBroker(t *testing.T, network, host string) running {
	t.Helper()
	clock := clockwork.NewFakeClockAt(time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC))
	sim, err := simulator.New(simulator.WithClock(clock))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	lookup := simulated.Environment(sim)
	text := string(simulated.Config) + strings.ReplaceAll(oddCredential, "$HOST", host)
	loaded, err := config.Parse("broker.yaml", []byte(text), config.Options{LookupEnv: func(name string) (string, bool) {
		if name == "ODD" {
			return oddSecret, true
		}
		return lookup(name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	broker, err := server.New(server.Options{
		Config: loaded, Logger: slog.New(slog.DiscardHandler), Clock: clock, TokenTransport: sim.Transport(), Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	address := serveOn(t, broker, network)
	t.Setenv(variable("address"), address)
	return running{address: address, sim: sim}
}

// serveOn makes the broker serve on a free address. serveOn returns the address in the form that
// the flag --address accepts.
func serveOn(t *testing.T, broker *server.Server, network string) string {
	t.Helper()
	address := config.Address{Network: network, Address: "127.0.0.1:0"}
	if network == "unix" {
		folder, err := os.MkdirTemp("", "get") // the path of t.TempDir can be too long for a socket
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(folder) })
		address.Address = filepath.Join(folder, "broker.sock")
	}
	listener, err := server.Listen(t.Context(), address, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- broker.ServeGRPC(listener) }()
	t.Cleanup(func() {
		broker.Stop(context.Background())
		if err := <-served; err != nil {
			t.Errorf("the server failed: %v", err)
		}
	})
	if network == "tcp" {
		address.Address = listener.Addr().(*net.TCPAddr).String()
	}
	return address.String()
}

func (r running) secretIn(text string) bool {
	return slices.ContainsFunc(append(r.sim.Secrets(), oddSecret), func(secret string) bool { return strings.Contains(text, secret) })
}

func invoke(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, problems bytes.Buffer
	code = run(t.Context(), args, &out, &problems)
	return out.String(), problems.String(), code
}

// succeed runs a command line that must exit with 0 and print nothing on standard error.
func succeed(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, code := invoke(t, args...)
	if code != exitOK || stderr != "" {
		t.Fatalf("the exit code of broker %s is %d\n%s", args[0], code, stderr)
	}
	return stdout
}
