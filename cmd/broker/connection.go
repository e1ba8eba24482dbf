package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/local"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/internal/regularfile"
)

// Bounds of an answer, in bytes. A decoration can hold several tokens of 64 KiB, and a batch is
// 100 decorations. An answer takes up many times its size if its parts are small.
const (
	maxDecoration = 1 << 20
	maxAnswer     = 64 << 20
	maxHeaders    = 64 << 10
)

// Environment variables that stand in for flags.
const (
	addressVariable = "BROKER_ADDRESS"
	caVariable      = "BROKER_TLS_CA"
	tokenVariable   = "BROKER_TOKEN_FILE" //nolint:gosec // the name of a variable
)

// connectionVariables are the flags of a connection with their environment variables.
var connectionVariables = []struct{ flag, variable string }{
	{"address", addressVariable},
	{"tls", "BROKER_TLS"},
	{"tls-ca", caVariable},
	{"tls-cert", "BROKER_TLS_CERT"},
	{"tls-key", "BROKER_TLS_KEY"},
	{"tls-server-name", "BROKER_TLS_SERVER_NAME"},
	{"token-file", tokenVariable},
}

// connectionHelp is a part of the help of commands with a connection.
const connectionHelp = `A broker with listen.tls is reached with --tls, which trusts the system's authorities,
or with --tls-ca. Each of the flags --tls-... turns TLS on. Who calls is proved by
--tls-cert and --tls-key, or by --token-file. Without TLS the broker has to be at a
loopback address or a Unix socket. Each flag has an environment variable, which the
command line overrides.`

// connection is how a command reaches a broker: its flags, and what came of it.
type connection struct {
	address   brokerAddress
	tls       bool
	files     client.TLS
	tokenFile string // "-": standard input

	handshakes sighting
}

// addFlags adds the flags to a command.
func (c *connection) addFlags(command *cobra.Command) {
	c.address = defaultBroker
	flags := command.Flags()
	flags.Var(&c.address, "address", "where the broker answers: a host with a port, or unix:///path")
	flags.BoolVar(&c.tls, "tls", false, "encrypt the connection, and check the broker's certificate")
	flags.StringVar(&c.files.CAFile, "tls-ca", "", "the `FILE` with the authorities to trust, in PEM, in place of the system's")
	flags.StringVar(&c.files.CertificateFile, "tls-cert", "", "the `FILE` with the client certificate, in PEM")
	flags.StringVar(&c.files.KeyFile, "tls-key", "", "the `FILE` with its private key, in PEM")
	flags.StringVar(&c.files.ServerName, "tls-server-name", "", "a `NAME` that the broker's certificate has, if not that of the address")
	flags.StringVar(&c.tokenFile, "token-file", "", "the `FILE` with the bearer token to send; - is standard input")
	for _, one := range connectionVariables {
		flags.Lookup(one.flag).Usage += " (environment: " + one.variable + ")"
	}
	completeNothing(command, "address", "tls-server-name")
}

// checkFlags takes the environment's settings where the command line has none, and finds what
// does not go together.
func (c *connection) checkFlags(flags *pflag.FlagSet) error {
	for _, one := range connectionVariables {
		value := os.Getenv(one.variable)
		if value == "" || flags.Changed(one.flag) {
			continue
		}
		if err := flags.Lookup(one.flag).Value.Set(value); err != nil {
			return fmt.Errorf("the environment variable %s: %w", one.variable, err)
		}
	}
	if err := c.checkTLS(flags); err != nil {
		return err
	}
	if !c.tls && !c.address.isLocal() {
		from := "--address"
		if !flags.Changed("address") {
			from = "the environment variable " + addressVariable
		}
		return fmt.Errorf("%s: must be a loopback address: the connection is not encrypted. Encrypt it with --tls, or with --tls-ca FILE for an authority of your own", from)
	}
	return nil
}

// checkTLS decides whether there is TLS.
func (c *connection) checkTLS(flags *pflag.FlagSet) error {
	var given string // one of the flags on the command line that ask for TLS
	for _, name := range []string{"tls-ca", "tls-cert", "tls-key", "tls-server-name"} {
		if flags.Changed(name) {
			given = "--" + name
		}
	}
	off := flags.Changed("tls") && !c.tls
	if given == "" && flags.Changed("tls") && c.tls {
		given = "--tls"
	}
	switch {
	case off && given != "":
		return fmt.Errorf("--tls=false and %s exclude each other", given)
	case c.address.network == "unix" && given != "":
		return fmt.Errorf("a broker speaks no TLS at a Unix socket: leave %s out", given)
	case off || c.address.network == "unix": // whatever the environment says
		c.tls, c.files = false, client.TLS{}
	case (c.files.CertificateFile == "") != (c.files.KeyFile == ""):
		return errors.New("--tls-cert and --tls-key need each other")
	}
	c.tls = c.tls || c.files != client.TLS{}
	return nil
}

// open prepares a connection, which the first call makes. It reads the files. The token is
// read from input when it is not in a file.
func (c *connection) open(input io.Reader) (*grpc.ClientConn, error) {
	transport := local.NewCredentials() // refuses other machines
	if c.tls {
		var err error
		if transport, err = c.files.Credentials(); err != nil {
			return nil, err
		}
	}
	dial := func(ctx context.Context, _ string) (net.Conn, error) { // past all proxies
		conn, err := new(net.Dialer).DialContext(ctx, c.address.network, c.address.address)
		if err != nil {
			c.handshakes.note(err)
		}
		return conn, err
	}
	target := "broker"
	if c.address.network == "tcp" {
		target = c.address.address // the name that a certificate must have
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(witness{transport, &c.handshakes}),
		grpc.WithContextDialer(dial),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxDecoration)),
		grpc.WithMaxHeaderListSize(maxHeaders),
	}
	if c.tokenFile != "" {
		token, err := readToken(c.tokenFile, input)
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithPerRPCCredentials(token))
	}
	return grpc.NewClient("passthrough:///"+target, options...)
}

// readToken reads the token once.
func readToken(path string, input io.Reader) (bearer, error) {
	token := client.TokenFile(path)
	if path == "-" {
		token = client.Token(func() (string, error) {
			text, err := regularfile.ReadAll(input, maxInput)
			if err != nil {
				return "", fmt.Errorf("standard input %w", err)
			}
			return string(text), nil
		})
	}
	metadata, err := token.GetRequestMetadata(context.Background())
	if err != nil {
		return nil, errors.New(status.Convert(err).Message())
	}
	return metadata, nil
}

// maxInput bounds what is read of standard input, in bytes.
const maxInput = 64 << 10

// bearer is a token as calls send it. Where there is no TLS, checkFlags and the credentials of
// the transport have seen to it that it stays on this machine.
type bearer map[string]string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return b, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (b bearer) RequireTransportSecurity() bool { return false }

var _ credentials.PerRPCCredentials = bearer(nil)
