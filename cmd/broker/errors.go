package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// explainCall returns an error that explains why no broker answered a call. explainCall also
// reports whether another attempt can succeed, for example because the broker is starting.
func (c *connection) explainCall(ctx context.Context, err error) (again bool, explained error) {
	failed := status.Convert(err)
	message := printable(failed.Message())
	switch code := failed.Code(); code {
	case codes.Unavailable, codes.DeadlineExceeded:
		if err := c.tryAgain(ctx); err != nil {
			return c.diagnose(err)
		}
		if code == codes.Unavailable {
			return true, fmt.Errorf("the broker on %s did not answer: %s", c.address, message)
		}
		return false, fmt.Errorf("the broker on %s has not answered within %s\n  %s", c.address, c.timeout,
			"Allow more time with --timeout, and check that the port is the port of listen.grpc.")
	case codes.Unimplemented:
		return false, fmt.Errorf("the server on %s is not a broker, or is an older version: %s", c.address, message)
	default:
		return false, fmt.Errorf("the call to %s failed: %s: %s", c.address, code, message)
	}
}

// diagnose explains why the command could not connect, and reports whether another attempt can
// succeed.
func (c *connection) diagnose(err error) (again bool, explained error) {
	cause := err
	for next := err; next != nil; next = errors.Unwrap(next) {
		cause = next
	}
	reason := printable(strings.TrimPrefix(strings.TrimPrefix(cause.Error(), "x509: "), "tls: "))
	for _, known := range diagnoses {
		if known.matches(err) {
			reason = fmt.Sprintf("%s: %s\n  %s", known.what, reason, known.advice)
			return known.again, fmt.Errorf("no connection to the broker on %s: %s", c.address, reason)
		}
	}
	return true, fmt.Errorf("no connection to the broker on %s: %s", c.address, reason)
}

const (
	howToStart   = "Start a broker with 'broker serve', or give a broker's address with --address or BROKER_ADDRESS."
	checkNetwork = "Check --address or BROKER_ADDRESS, and the network of this machine."
	useGRPCPort  = "Use the port of listen.grpc: this port may belong to listen.http, or to another program."
)

// diagnoses lists the known connection errors. The first item that matches an error is printed.
var diagnoses = []struct {
	matches      func(error) bool
	what, advice string
	again        bool // whether another attempt to connect can succeed
}{
	{is(syscall.ECONNREFUSED), "nothing listens there", howToStart, true},
	{is(syscall.ENOENT), "the socket does not exist", howToStart, true},
	{is(syscall.EACCES), "this user may not connect to the socket",
		"Run the command as the broker's user, or set the broker's listen.socket_mode so that this user may connect.", true},
	{is(syscall.ENETUNREACH, syscall.EHOSTUNREACH), "this machine does not reach the host", checkNetwork, true},
	{isType[*net.DNSError], "the host name cannot be resolved", checkNetwork, true},
	{is(errClosed), "the server did not reply",
		"If the broker has listen.tls, add --tls or --tls-ca FILE. If not, check that --address has the port of listen.grpc.", true},

	{isType[tls.RecordHeaderError], "the server does not use TLS",
		"If the broker has no listen.tls, leave out --tls and --tls-...; check that --address has the port of listen.grpc.", false},
	{isType[x509.UnknownAuthorityError], "the broker's certificate is not trusted",
		"Name the file with the certificate of the authority that signed it, with --tls-ca FILE or BROKER_TLS_CA.", false},
	{isType[x509.HostnameError], "the broker's certificate is for another name",
		"Use an address that the certificate contains, or give a name from the certificate with --tls-server-name NAME.", false},
	{isType[x509.CertificateInvalidError], "the broker's certificate is not valid",
		"Install a new certificate, which the broker reads without a restart, or check the clock of this machine.", false},
	{isAlert("certificate required"), "the server requires a client certificate",
		"Send a client certificate with --tls-cert FILE and --tls-key FILE.", false},
	{isAlert("certificate"), "the server rejects the client certificate",
		"Use a client certificate that is valid now and signed by an authority in the broker's listen.tls.client_ca_file.", false},
	{isAlert("application protocol"), "the server uses TLS, but not gRPC", useGRPCPort, false},
	{isAlert(""), "the server ended the TLS handshake", "The broker's log has the reason at level debug.", false},

	{is(errNeedsTLS), "the server uses TLS", "Add --tls, or --tls-ca FILE to trust your own authority.", false},
	{is(errNotGRPC), "the server does not speak gRPC", useGRPCPort, false},
}

func is(targets ...error) func(error) bool {
	return func(err error) bool {
		return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
	}
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// isAlert returns a function that reports whether an error is a TLS alert from the server whose
// description contains the given text. RFC 8446, section 6.2, lists all alerts.
func isAlert(text string) func(error) bool {
	return func(err error) bool {
		failed, ok := errors.AsType[*net.OpError](err)
		return ok && failed.Op == "remote error" && strings.Contains(failed.Err.Error(), text)
	}
}

var (
	errClosed   = errors.New("the connection was closed")
	errNeedsTLS = errors.New("the reply is a TLS alert")
	errNotGRPC  = errors.New("the reply is not HTTP/2")
)

// greeting is the beginning of an HTTP/2 connection, with an empty SETTINGS frame (RFC 9113,
// section 3.4).
const greeting = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// tryAgain connects once more to find out why the first connection failed, because gRPC reports the
// cause only as text. tryAgain returns nil if a gRPC server answers, or if no server answers in
// time.
func (c *connection) tryAgain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.diagnosisTime())
	defer cancel()
	err := c.greet(ctx)
	switch timeout, ok := errors.AsType[net.Error](err); {
	case ok && timeout.Timeout():
		return nil
	case is(io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE)(err):
		return errClosed
	}
	return err
}

func (c *connection) greet(ctx context.Context) error {
	network, address, authority := "tcp", c.address, cmp.Or(c.files.ServerName, c.address)
	if path, found := strings.CutPrefix(c.address, "unix://"); found {
		network, address = "unix", path
	}
	raw, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer raw.Close() //nolint:errcheck // an error of Close does not matter, because only the greeting was sent
	deadline, _ := ctx.Deadline()
	_ = raw.SetDeadline(deadline)
	conn, _, err := c.transport.ClientHandshake(ctx, authority, raw)
	if err != nil {
		return err
	}
	_, _ = io.WriteString(conn, greeting) // an error does not matter: if writing fails, the next read fails too, or returns the server's reason
	first := make([]byte, len(greeting))
	n, err := conn.Read(first) // with TLS 1.3, a server rejects a client certificate only after the handshake, so the error occurs here
	const frameType, settings = 3, 4
	switch first = first[:n]; {
	case n == 0:
		return err
	case bytes.HasPrefix(first, []byte{21, 3}):
		return errNeedsTLS
	case n > frameType && first[frameType] != settings:
		return errNotGRPC
	}
	return nil
}
