package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/local"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/client"
	"github.com/authmaterial/broker/internal/regularfile"
)

// The limits of input and output are in bytes. A decoration can contain several tokens of 64 KiB,
// and a batch has up to 100 decorations. A decoded response with many small parts needs many times
// the memory of the encoded response.
const (
	maxDecoration = 1 << 20
	maxResponse   = 64 << 20
	maxHeaders    = 64 << 10
	maxInput      = 64 << 10 // maximum number of bytes that are read from standard input
)

// connectionFlags lists the flags that can also be set by an environment variable.
var connectionFlags = []string{"address", "tls", "tls-ca", "tls-cert", "tls-key", "tls-server-name", "token-file"}

func variable(flag string) string {
	return "BROKER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// connectionHelp is the paragraph about the connection in the help of several commands.
const connectionHelp = `If the broker has listen.tls, use --tls to trust the system's authorities, or --tls-ca to
trust your own. Each of the flags --tls-... turns TLS on. The broker identifies callers by
--tls-cert with --tls-key, or by --token-file. Without TLS, the broker must be at a loopback
address or a Unix socket. A flag overrides its environment variable.`

// connection contains the values of the flags about the connection to a broker.
type connection struct {
	address   string // host:port, or unix:///path
	tls       bool
	files     client.TLS
	tokenFile string // path of the token file; "-" is standard input
	timeout   time.Duration

	transport credentials.TransportCredentials // set by connect
}

func (c *connection) addFlags(command *cobra.Command, timeout time.Duration) {
	flags := command.Flags()
	flags.StringVar(&c.address, "address", "127.0.0.1:50051", "the broker's `ADDRESS`: HOST:PORT, or unix:///PATH")
	flags.BoolVar(&c.tls, "tls", false, "encrypt the connection, and check the broker's certificate")
	flags.StringVar(&c.files.CAFile, "tls-ca", "", "the `FILE` with the authorities to trust, in PEM (default: the system's authorities)")
	flags.StringVar(&c.files.CertificateFile, "tls-cert", "", "the `FILE` with the client certificate, in PEM")
	flags.StringVar(&c.files.KeyFile, "tls-key", "", "the `FILE` with the client certificate's private key, in PEM")
	flags.StringVar(&c.files.ServerName, "tls-server-name", "", "the `NAME` in the broker's certificate (default: the host)")
	flags.StringVar(&c.tokenFile, "token-file", "", "the `FILE` with the bearer token to send; - is standard input")
	for _, name := range connectionFlags {
		flags.Lookup(name).Usage += " (environment: " + variable(name) + ")"
	}
	flags.DurationVar(&c.timeout, "timeout", timeout, "how long to wait for the response")
	for _, name := range []string{"tls-ca", "tls-cert", "tls-key", "token-file"} {
		must(command.MarkFlagFilename(name))
	}
}

// checkFlags sets each flag that is not on the command line to the value of its environment
// variable, and rejects invalid settings.
func (c *connection) checkFlags(flags *pflag.FlagSet) error {
	for _, name := range connectionFlags {
		value := os.Getenv(variable(name))
		if value == "" || flags.Changed(name) {
			continue
		}
		if err := flags.Lookup(name).Value.Set(value); err != nil {
			return fmt.Errorf("the environment variable %s: %w", variable(name), err)
		}
	}
	if c.timeout <= 0 {
		return errors.New("--timeout must be more than 0s")
	}
	if err := c.checkTLS(flags); err != nil {
		return err
	}
	if err := c.checkAddress(); err != nil {
		if flags.Changed("address") {
			return fmt.Errorf("--address: %w", err)
		}
		return fmt.Errorf("the environment variable %s: %w", variable("address"), err)
	}
	return nil
}

func (c *connection) checkTLS(flags *pflag.FlagSet) error {
	off := flags.Changed("tls") && !c.tls
	var given string // the name of a flag that turns TLS on and is on the command line
	flags.Visit(func(flag *pflag.Flag) {
		if strings.HasPrefix(flag.Name, "tls-") || flag.Name == "tls" && c.tls {
			given = "--" + flag.Name
		}
	})
	switch {
	case off && given != "":
		return fmt.Errorf("--tls=false and %s cannot be used together", given)
	case c.isSocket() && given != "":
		return fmt.Errorf("brokers do not use TLS at a Unix socket: leave %s out", given)
	case off || c.isSocket(): // TLS settings from environment variables have no effect with --tls=false or a Unix socket
		c.tls, c.files = false, client.TLS{}
	case (c.files.CertificateFile == "") != (c.files.KeyFile == ""):
		return errors.New("--tls-cert and --tls-key must be used together")
	}
	c.tls = c.tls || c.files != client.TLS{}
	return nil
}

// checkAddress rejects invalid addresses. Without TLS, it also rejects addresses of other machines.
// checkAddress accepts the name localhost without resolving it, because the transport credentials
// check the resolved address.
func (c *connection) checkAddress() error {
	if path, found := strings.CutPrefix(c.address, "unix://"); found {
		if !strings.HasPrefix(path, "/") {
			return errors.New("a Unix socket needs an absolute path, such as unix:///run/broker.sock")
		}
		return nil
	}
	if scheme, rest, found := strings.Cut(c.address, "://"); found {
		return fmt.Errorf("leave out %s://, as in %s; --tls turns TLS on", scheme, strings.TrimRight(rest, "/"))
	}
	host, port, err := net.SplitHostPort(c.address)
	if err != nil || host == "" || port == "" {
		return errors.New("must be a host with a port, such as 127.0.0.1:50051, or unix:///path")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return errors.New("the port must be a number from 0 to 65535")
	}
	ip, err := netip.ParseAddr(host)
	if !c.tls && host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return errors.New("must be a loopback address, because the connection is not encrypted; use --tls or --tls-ca FILE")
	}
	return nil
}

func (c *connection) isSocket() bool { return strings.HasPrefix(c.address, "unix://") }

// diagnosisTime is the part of the timeout reserved for finding out why a call failed.
func (c *connection) diagnosisTime() time.Duration { return min(time.Second, c.timeout/4) }

// connect opens a connection, and passes it and the context of its calls to the function `ask`. The
// context ends before the timeout, so that there is time left to find out why a call failed.
func (c *connection) connect(command *cobra.Command, ask func(context.Context, *grpc.ClientConn) error) error {
	ctx, cancel := context.WithTimeout(command.Context(), c.timeout-c.diagnosisTime())
	defer cancel()
	ctx, conn, err := c.dial(ctx, command.InOrStdin())
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // an error of Close does not matter, because the response was already read
	return ask(ctx, conn)
}

// dial reads the certificate files and the token, which may come from `input`. It returns a
// context whose calls send the token, and a connection, which is not opened before the first call.
func (c *connection) dial(ctx context.Context, input io.Reader, options ...grpc.DialOption) (context.Context, *grpc.ClientConn, error) {
	c.transport = local.NewCredentials() // local.NewCredentials rejects connections to other machines
	var err error
	if c.tls {
		if c.transport, err = c.files.Credentials(); err != nil {
			return nil, nil, err
		}
	}
	if c.tokenFile != "" {
		if ctx, err = c.withToken(ctx, input); err != nil {
			return nil, nil, err
		}
	}
	target := c.address
	if !c.isSocket() {
		target = "passthrough:///" + target
	}
	conn, err := grpc.NewClient(target, append([]grpc.DialOption{
		grpc.WithTransportCredentials(c.transport),
		grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxDecoration)),
		grpc.WithMaxHeaderListSize(maxHeaders),
	}, options...)...)
	return ctx, conn, err
}

// withToken returns a context whose calls send the token. Without TLS, checkAddress and the
// transport credentials keep the token on this machine.
func (c *connection) withToken(ctx context.Context, input io.Reader) (context.Context, error) {
	token := client.TokenFile(c.tokenFile)
	if c.tokenFile == "-" {
		token = client.Token(func() (string, error) {
			text, err := regularfile.ReadAll(input, maxInput)
			if err != nil {
				return "", fmt.Errorf("standard input %w", err)
			}
			return string(text), nil
		})
	}
	headers, err := token.GetRequestMetadata(ctx)
	if err != nil {
		return nil, errors.New(status.Convert(err).Message())
	}
	return metadata.NewOutgoingContext(ctx, metadata.New(headers)), nil
}
