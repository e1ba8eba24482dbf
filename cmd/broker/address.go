package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// addressVariable is the environment variable that stands in for --address.
const addressVariable = "BROKER_ADDRESS"

// maxAnswer bounds an answer, in bytes: a batch is 100 decorations, each of which can
// hold several tokens of 64 KiB.
const maxAnswer = 64 << 20

// defaultBroker is where a broker answers that was not told otherwise.
var defaultBroker = brokerAddress{network: "tcp", address: "127.0.0.1:50051"}

// brokerAddress is where a broker answers, and the value of a flag.
type brokerAddress struct{ network, address string }

// flag adds the flag to a command.
func (a *brokerAddress) flag(command *cobra.Command) {
	*a = defaultBroker
	command.Flags().Var(a, "address", "where the broker answers: a loopback address with a port, or unix:///path (environment: "+addressVariable+")")
	completeNothing(command, "address")
}

// fromEnvironment takes the environment's address where the command line has none.
func (a *brokerAddress) fromEnvironment(command *cobra.Command) error {
	address := os.Getenv(addressVariable)
	if address == "" || command.Flags().Changed("address") {
		return nil
	}
	if err := a.Set(address); err != nil {
		return fmt.Errorf("the environment variable %s: %w", addressVariable, err)
	}
	return nil
}

// Set reads `host:port` or `unix:///path`. The answers hold secrets and are not
// encrypted, so a host beyond this machine is refused, as the broker refuses to listen
// for one.
func (a *brokerAddress) Set(text string) error {
	if path, found := strings.CutPrefix(text, "unix://"); found {
		if !strings.HasPrefix(path, "/") {
			return errors.New("a Unix socket needs an absolute path, such as unix:///run/broker.sock")
		}
		*a = brokerAddress{"unix", path}
		return nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || port == "" {
		return errors.New("must be an address with a port, such as 127.0.0.1:50051, or unix:///path")
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return errors.New("must be a loopback address: the connection is not encrypted")
	}
	*a = brokerAddress{"tcp", text}
	return nil
}

// String is the form that Set reads.
func (a *brokerAddress) String() string {
	if a.network == "unix" {
		return "unix://" + a.address
	}
	return a.address
}

// Type is what help shows in the value's place.
func (a *brokerAddress) Type() string { return "address" }

// connect prepares a connection, which the first call makes.
func (a *brokerAddress) connect() (*grpc.ClientConn, error) {
	dial := func(ctx context.Context, _ string) (net.Conn, error) { // past all proxies
		return new(net.Dialer).DialContext(ctx, a.network, a.address)
	}
	return grpc.NewClient("passthrough:///broker",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dial),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
}
