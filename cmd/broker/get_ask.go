package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
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

// answer is what the broker says about one ID: a decoration, or a refusal.
type answer struct {
	id         string
	decoration *authmaterialv1.AuthDecoration
	refusal    *refusal
	// outcome is that of a report, and zero for other calls.
	outcome authmaterialv1.ReportRejectionResponse_Outcome
}

// ask makes the call. Its error is about the call as a whole.
func (f *getFlags) ask(ctx context.Context, broker authmaterialv1.BrokerServiceClient, ids []string) ([]answer, error) {
	switch {
	case f.version != "":
		response, err := broker.ReportRejection(ctx, &authmaterialv1.ReportRejectionRequest{
			CredentialId: ids[0], Version: f.version, HttpStatus: f.httpStatus,
		})
		if err != nil {
			return nil, f.refused(ids[0], err)
		}
		return []answer{{id: ids[0], decoration: response.GetAuthDecoration(), outcome: response.GetOutcome()}}, nil
	case len(ids) == 1:
		response, err := broker.GetAuthDecoration(ctx, &authmaterialv1.GetAuthDecorationRequest{CredentialId: ids[0]})
		if err != nil {
			return nil, f.refused(ids[0], err)
		}
		return []answer{{id: ids[0], decoration: response.GetAuthDecoration()}}, nil
	}
	response, err := broker.BatchGetAuthDecorations(ctx, &authmaterialv1.BatchGetAuthDecorationsRequest{CredentialIds: ids})
	if err != nil {
		return nil, f.refused("", err)
	}
	var answers []answer
	for _, result := range response.GetResults() {
		one := answer{id: result.GetCredentialId(), decoration: result.GetAuthDecoration()}
		if result.GetAuthDecoration() == nil {
			one.refusal = refusedItem(one.id, result.GetError())
		}
		answers = append(answers, one)
	}
	return answers, nil
}
