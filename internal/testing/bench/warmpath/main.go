// Command warmpath finds the functions of the broker that run during one warm call, with mutual
// TLS, grants, metrics and an audit file. The command must be built for coverage, as `make
// warmpath` does.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/coverage"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/config"
	"github.com/authmaterial/broker/internal/server"
	"github.com/authmaterial/broker/internal/simulated"
	"github.com/authmaterial/broker/internal/testing/authtest"
)

// guards contains the sections that are added to the simulated configuration.
const guards = `audit: {file: %[1]q}
grants: [{callers: ["spiffe://bench.test/*"], credentials: ["*"]}]
`

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "warmpath:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, folder string) error {
	sim, err := simulator.New()
	if err != nil {
		return err
	}
	defer sim.Close() //nolint:errcheck // an error of Close does not matter, because the process ends
	authority := authtest.NewAuthority("bench", time.Now())
	text := fmt.Appendf(nil, guards, filepath.Join(folder, "audit.jsonl"))
	loaded, err := config.Parse("warmpath.yaml", append(text, simulated.Config...), config.Options{LookupEnv: simulated.Environment(sim)})
	if err != nil {
		return err
	}
	own := authority.IssueLoopback()
	loaded.Listen.TLS = &config.ListenTLS{MinVersion: tls.VersionTLS13, Certificate: own, ClientCAs: authtest.Pool(authority)}
	broker, err := server.New(server.Options{Config: loaded, TokenTransport: sim.Transport(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	listener, err := server.Listen(ctx, config.Address{Network: "tcp", Address: "127.0.0.1:0"}, 0)
	if err != nil {
		return err
	}
	go func() { _ = broker.ServeGRPC(listener) }()
	defer broker.Stop(ctx)
	connection, err := grpc.NewClient("passthrough:///"+listener.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		RootCAs: authtest.Pool(authority), ServerName: "localhost", MinVersion: tls.VersionTLS13,
		Certificates: []tls.Certificate{authority.IssueSPIFFE("spiffe://bench.test/caller")},
	})))
	if err != nil {
		return err
	}
	defer connection.Close() //nolint:errcheck // an error of Close does not matter, because the process ends
	return measure(ctx, authmaterialv1.NewBrokerServiceClient(connection), folder)
}

const credential = "sendpulse-oauth" //nolint:gosec // it is an ID

// `settling` is how long the command waits after a call for the broker's work that continues after
// the answer.
const settling = 200 * time.Millisecond

// measure makes calls until all caches are filled, and writes the coverage of one further call.
func measure(ctx context.Context, client authmaterialv1.BrokerServiceClient, folder string) error {
	for range 3 {
		if _, err := client.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: credential}); err != nil {
			return err
		}
		<-time.After(settling)
		if err := coverage.ClearCounters(); err != nil {
			return err
		}
	}
	if _, err := client.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: credential}); err != nil {
		return err
	}
	<-time.After(settling)
	return errors.Join(coverage.WriteMetaDir(folder), coverage.WriteCountersDir(folder))
}
