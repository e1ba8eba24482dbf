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
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// diagnosisPeriod bounds the time in which a failed connection is tried again to explain it.
const diagnosisPeriod = time.Second

// diagnosis is why there is no connection, and what to do about it.
type diagnosis struct {
	what, advice string
	passing      bool // the broker may be starting: another attempt can succeed
}

// Error is both, the advice on a line of its own.
func (d *diagnosis) Error() string {
	if d.advice == "" {
		return printable(d.what)
	}
	return printable(d.what) + "\n  " + d.advice
}

// unanswered explains the error of a call that the broker itself did not answer, and reports
// whether another attempt can succeed.
func (c *connection) unanswered(ctx context.Context, err error) (explained error, passing bool) {
	failed := status.Convert(err)
	message := printable(failed.Message())
	code := failed.Code()
	if code == codes.Unavailable || code == codes.DeadlineExceeded {
		if found := c.diagnose(ctx); found != nil {
			return fmt.Errorf("no connection to the broker on %s: %w", &c.address, found), found.passing
		}
	}
	switch code {
	case codes.Unavailable:
		return fmt.Errorf("no broker answers on %s: %s\n  %s", &c.address, message, howToStart), true
	case codes.DeadlineExceeded:
		return fmt.Errorf("the broker on %s has not answered within %s\n  Allow more time with --timeout, and check that the port is that of listen.grpc.", &c.address, c.timeout), false
	case codes.Unimplemented:
		return fmt.Errorf("the server on %s is no broker, or an older version: %s", &c.address, message), false
	default:
		return fmt.Errorf("the call to %s failed: %s: %s", &c.address, code, message), false
	}
}

// greeting begins a connection of HTTP/2, with an empty SETTINGS frame (RFC 9113, section 3.4).
const greeting = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// diagnose connects once more to find out why there is no connection: gRPC's errors are text
// alone. It returns nil if a gRPC server answers, or nothing does in time.
func (c *connection) diagnose(ctx context.Context) *diagnosis {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), diagnosisPeriod)
	defer cancel()
	raw, err := c.dial(ctx)
	if err != nil {
		return diagnoseError(err)
	}
	defer raw.Close() //nolint:errcheck // nothing that matters was sent
	deadline, _ := ctx.Deadline()
	_ = raw.SetDeadline(deadline)
	conn, _, err := c.transport.ClientHandshake(ctx, cmp.Or(c.files.ServerName, c.address.authority()), raw)
	if err != nil {
		return diagnoseError(err)
	}
	_, err = io.WriteString(conn, greeting)
	first := make([]byte, len(greeting))
	n, readErr := conn.Read(first) // after a failed write too: the server may have sent why
	if n > 0 {
		return diagnoseAnswer(first[:n])
	}
	return diagnoseError(errors.Join(readErr, err)) // in TLS 1.3, a client certificate is rejected only now
}

const howToStart = "Start one with 'broker serve', or give its address with --address or " + addressVariable + "."

// passingProblems are errors of connections to a broker that may be starting.
var passingProblems = []struct {
	what, advice string
	causes       []error
}{
	{"nothing listens there: connection refused", howToStart, []error{syscall.ECONNREFUSED}},
	{"the socket does not exist: no such file", howToStart, []error{syscall.ENOENT}},
	{"this user may not connect to the socket: permission denied",
		"Run the command as the broker's user, or let listen.socket_mode in the broker's configuration admit this user.",
		[]error{syscall.EACCES}},
	{"there is no route to this host", "Check the address, and the network of this machine.",
		[]error{syscall.ENETUNREACH, syscall.EHOSTUNREACH}},
	{"the server closed the connection without replying",
		"If the broker has listen.tls, add --tls, or --tls-ca FILE to trust your own authority. If not, leave them out, and check that the port is that of listen.grpc.",
		[]error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE}},
}

// diagnoseError explains the error of a connection; nil if it took too long.
func diagnoseError(err error) *diagnosis {
	if name, ok := errors.AsType[*net.DNSError](err); ok && name.IsNotFound {
		return &diagnosis{"there is no host " + name.Name, "Give the broker's address with --address or " + addressVariable + ".", true}
	} else if ok {
		return &diagnosis{"the host name " + name.Name + " cannot be resolved just now", "Check that this machine reaches its name server.", true}
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return nil
	}
	for _, known := range passingProblems {
		if slices.ContainsFunc(known.causes, func(cause error) bool { return errors.Is(err, cause) }) {
			return &diagnosis{known.what, known.advice, true}
		}
	}
	if failed, ok := errors.AsType[*net.OpError](err); ok && failed.Op == "remote error" {
		return diagnoseAlert(strings.TrimPrefix(failed.Err.Error(), "tls: "))
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return &diagnosis{what: "the server does not use TLS",
			advice: "Leave out --tls and the flags that begin with it if the broker has no listen.tls, and check that the port is that of listen.grpc."}
	}
	if found := diagnoseCertificate(err); found != nil {
		return found
	}
	return &diagnosis{what: err.Error(), passing: true}
}

// diagnoseCertificate explains why the broker's certificate is not accepted; nil: it is not the
// reason.
func diagnoseCertificate(err error) *diagnosis {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return &diagnosis{what: "the broker's certificate is not signed by an authority that is trusted here",
			advice: "Name the file with the certificate of its authority, with --tls-ca FILE or " + caVariable + "."}
	}
	if name, ok := errors.AsType[x509.HostnameError](err); ok {
		return &diagnosis{what: "the broker's certificate is for another name: " + withoutPrefix(name),
			advice: "Use an address that the certificate has, or give one of its names with --tls-server-name NAME."}
	}
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	switch {
	case !ok:
		return nil
	case invalid.Reason == x509.Expired:
		return &diagnosis{what: "the broker's certificate has expired, or is not valid yet: " + withoutPrefix(invalid),
			advice: "Give the broker a new certificate, which it reads without a restart; or set the clock of this machine."}
	}
	return &diagnosis{what: "the broker's certificate is not valid: " + withoutPrefix(invalid), advice: "Give the broker another certificate."}
}

func withoutPrefix(err error) string { return strings.TrimPrefix(err.Error(), "x509: ") }

// Advice for a server that does not speak gRPC.
const (
	useGRPCPort = "Use the port of listen.grpc"
	mayBeHTTP   = useGRPCPort + ": this one may be that of listen.http."
)

// diagnoseAlert explains the TLS alert by which the server ended the connection. RFC 8446,
// section 6.2, has all alerts.
func diagnoseAlert(alert string) *diagnosis {
	switch {
	case strings.Contains(alert, "certificate required"):
		return &diagnosis{what: "the server requires a client certificate", advice: "Give one with --tls-cert FILE and --tls-key FILE."}
	case strings.Contains(alert, "certificate"):
		return &diagnosis{what: "the server rejects the client certificate: " + alert,
			advice: "Give one, with --tls-cert and --tls-key, that is valid now and that an authority in the broker's listen.tls.client_ca_file has signed."}
	case strings.Contains(alert, "application protocol"):
		return &diagnosis{what: "the server uses TLS, but not gRPC: " + alert, advice: mayBeHTTP}
	case strings.Contains(alert, "protocol version"):
		return &diagnosis{what: "the server and this command have no TLS version in common: " + alert,
			advice: "Check listen.tls.min_version of the broker, and any proxy in between."}
	}
	return &diagnosis{what: "the server refused the connection: " + alert, advice: "The broker's log has the reason at level debug."}
}

// diagnoseAnswer explains the first bytes of a server that is no gRPC server; nil for HTTP/2,
// where the first frame is SETTINGS (RFC 9113, section 3.4).
func diagnoseAnswer(first []byte) *diagnosis {
	const frameType, settings = 3, 4 // the place of the type in a frame, and the type of SETTINGS
	switch {
	case bytes.HasPrefix(first, []byte("HTTP/1")):
		return &diagnosis{what: "the server speaks HTTP/1, not gRPC", advice: mayBeHTTP}
	case bytes.HasPrefix(first, []byte{21, 3}): // an alert of TLS
		return &diagnosis{what: "the server uses TLS", advice: "Add --tls, or --tls-ca FILE to trust your own authority."}
	case len(first) > frameType && first[frameType] != settings:
		return &diagnosis{what: "the server does not speak gRPC", advice: useGRPCPort + ": another program listens on this one."}
	}
	return nil
}
