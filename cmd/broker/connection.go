package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/local"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/internal/regularfile"
)

// Bounds, in bytes. A decoration can hold several tokens of 64 KiB, and a batch is 100
// decorations. A response takes up many times its size if its parts are small.
const (
	maxDecoration = 1 << 20
	maxResponse   = 64 << 20
	maxHeaders    = 64 << 10
	maxInput      = 64 << 10 // of standard input
)

// Environment variables that replace flags.
const (
	addressVariable = "BROKER_ADDRESS"
	caVariable      = "BROKER_TLS_CA"
)

// connectionVariables are the flags of a connection with their environment variables.
var connectionVariables = []struct{ flag, variable string }{
	{"address", addressVariable},
	{"tls", "BROKER_TLS"},
	{"tls-ca", caVariable},
	{"tls-cert", "BROKER_TLS_CERT"},
	{"tls-key", "BROKER_TLS_KEY"},
	{"tls-server-name", "BROKER_TLS_SERVER_NAME"},
	{"token-file", "BROKER_TOKEN_FILE"},
}

// connectionHelp is a part of the help of commands with a connection.
const connectionHelp = `If the broker has listen.tls, use --tls to trust the system's authorities, or --tls-ca to
trust your own. Each of the flags --tls-... turns TLS on. The broker identifies callers by
--tls-cert with --tls-key, or by --token-file. Without TLS, the broker must be at a loopback
address or a Unix socket. Each of these flags has an environment variable; the flag comes first.`

// connection is the connection of a command to a broker: its flags, and what they lead to.
type connection struct {
	address   brokerAddress
	tls       bool
	files     client.TLS
	tokenFile string // "-": standard input
	timeout   time.Duration

	transport credentials.TransportCredentials // set by connect
}

// addFlags adds the flags to a command.
func (c *connection) addFlags(command *cobra.Command, timeout time.Duration) {
	c.address = brokerAddress{"tcp", "127.0.0.1:50051"} // where a broker listens by default
	flags := command.Flags()
	flags.Var(&c.address, "address", "the broker's address: a host with a port, or unix:///path")
	flags.BoolVar(&c.tls, "tls", false, "encrypt the connection, and check the broker's certificate")
	flags.StringVar(&c.files.CAFile, "tls-ca", "", "the `FILE` with the authorities to trust, in PEM, in place of the system's")
	flags.StringVar(&c.files.CertificateFile, "tls-cert", "", "the `FILE` with the client certificate, in PEM")
	flags.StringVar(&c.files.KeyFile, "tls-key", "", "the `FILE` with its private key, in PEM")
	flags.StringVar(&c.files.ServerName, "tls-server-name", "", "the `NAME` to expect in the broker's certificate, if it is not the host of the address")
	flags.StringVar(&c.tokenFile, "token-file", "", "the `FILE` with the bearer token to send; - is standard input")
	for _, one := range connectionVariables {
		flags.Lookup(one.flag).Usage += " (environment: " + one.variable + ")"
	}
	flags.DurationVar(&c.timeout, "timeout", timeout, "how long to wait for the response")
	for _, name := range []string{"tls-ca", "tls-cert", "tls-key", "token-file"} {
		must(command.MarkFlagFilename(name))
	}
}

// checkFlags takes the environment's settings where the command line has none, and reports
// settings that exclude each other.
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
	if c.timeout <= 0 {
		return errors.New("--timeout must be more than 0s")
	}
	if err := c.checkTLS(flags); err != nil {
		return err
	}
	if !c.tls && !c.address.isLocal() {
		from := "--address"
		if !flags.Changed("address") {
			from = "the environment variable " + addressVariable
		}
		return fmt.Errorf("%s: must be a loopback address, because the connection is not encrypted; encrypt it with --tls, or with --tls-ca FILE to trust your own authority", from)
	}
	return nil
}

// checkTLS decides whether the connection has TLS.
func (c *connection) checkTLS(flags *pflag.FlagSet) error {
	off := flags.Changed("tls") && !c.tls
	var given string // a flag on the command line that turns TLS on
	flags.Visit(func(flag *pflag.Flag) {
		if strings.HasPrefix(flag.Name, "tls") && !(off && flag.Name == "tls") {
			given = "--" + flag.Name
		}
	})
	unix := c.address.network == "unix"
	switch {
	case off && given != "":
		return fmt.Errorf("--tls=false and %s exclude each other", given)
	case unix && given != "":
		return fmt.Errorf("brokers do not use TLS at a Unix socket: leave %s out", given)
	case off || unix: // whatever the environment has
		c.tls, c.files = false, client.TLS{}
	case (c.files.CertificateFile == "") != (c.files.KeyFile == ""):
		return errors.New("--tls-cert and --tls-key need each other")
	}
	c.tls = c.tls || c.files != client.TLS{}
	return nil
}

// connect calls ask with a connection and a context that ends with the timeout. The first call
// makes the connection. The files are read now; the token is read from the command's input if
// it is not in a file.
func (c *connection) connect(command *cobra.Command, ask func(context.Context, *grpc.ClientConn) error) error {
	ctx, cancel := context.WithTimeout(command.Context(), c.timeout)
	defer cancel()
	c.transport = local.NewCredentials() // rejects other machines
	if c.tls {
		var err error
		if c.transport, err = c.files.Credentials(); err != nil {
			return err
		}
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(c.transport),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.dial(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxDecoration)),
		grpc.WithMaxHeaderListSize(maxHeaders),
	}
	if c.tokenFile != "" {
		token, err := readToken(c.tokenFile, command.InOrStdin())
		if err != nil {
			return err
		}
		options = append(options, grpc.WithPerRPCCredentials(token))
	}
	conn, err := grpc.NewClient("passthrough:///"+c.address.authority(), options...)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the response was read
	return ask(ctx, conn)
}

// dial never uses a proxy.
func (c *connection) dial(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, c.address.network, c.address.address)
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

// bearer is a token as calls send it. Without TLS, checkFlags and the transport's credentials
// make sure that it stays on this machine.
type bearer map[string]string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return b, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (b bearer) RequireTransportSecurity() bool { return false }
