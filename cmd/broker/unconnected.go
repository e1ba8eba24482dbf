package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
)

// handshakeProblem is why there is no connection, in words for who runs the command.
type handshakeProblem struct{ what, advice string }

// Error is both, the advice on a line of its own.
func (p *handshakeProblem) Error() string { return printable(p.what) + "\n  " + p.advice }

// explainHandshake returns nil when the error leaves open why.
func explainHandshake(err error) *handshakeProblem {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		record  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &unknown):
		return &handshakeProblem{"no authority that is trusted here has signed the broker's certificate",
			"Give the certificate of the authority that has, with --tls-ca FILE or " + caVariable + "."}
	case errors.As(err, &name):
		return &handshakeProblem{"the broker's certificate is for another name: " + withoutPrefix(name),
			"Use an address that the certificate has, or say with --tls-server-name NAME which of its names to expect."}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return &handshakeProblem{"the broker's certificate has expired, or is not valid yet: " + withoutPrefix(invalid),
			"Give the broker a new certificate, which it reads without a restart; or set the clock of this machine."}
	case errors.As(err, &invalid):
		return &handshakeProblem{"the broker's certificate is not valid: " + withoutPrefix(invalid), "Give the broker another certificate."}
	case errors.As(err, &record):
		return &handshakeProblem{"what answers there speaks no TLS",
			"Leave out --tls and the flags that begin with it when the broker has no listen.tls, and see whether the port is that of listen.grpc."}
	}
	if alert, found := alertIn(err); found {
		return explainAlert(alert)
	}
	return explainOther(err)
}

// explainOther is explainHandshake for an end that is no gRPC server.
func explainOther(err error) *handshakeProblem {
	const port = "Use the port of listen.grpc"
	switch {
	case errors.Is(err, errSpeaksHTTP1):
		return &handshakeProblem{"what answers there speaks HTTP/1, and no gRPC", port + ": this one may be that of listen.http."}
	case errors.Is(err, errSpeaksTLS):
		return &handshakeProblem{"what answers there speaks TLS", "Add --tls, or --tls-ca FILE for an authority of your own."}
	case errors.Is(err, errSpeaksOther):
		return &handshakeProblem{"what answers there is no gRPC server", port + ": another program listens on this one."}
	}
	return nil
}

// explainDial says why nobody was reached; nil when the error leaves that open. Another
// attempt can succeed, so this is not part of explainHandshake.
func (c *connection) explainDial(err error) error {
	const start = "Start one with 'broker serve', or say where it is with --address or " + addressVariable + "."
	var name *net.DNSError
	unix := c.address.network == "unix"
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return &handshakeProblem{"there is no host " + name.Name, "Say where the broker is with --address or " + addressVariable + "."}
	case errors.As(err, &name):
		return &handshakeProblem{"the host name " + name.Name + " cannot be looked up just now", "See whether this machine reaches its name server."}
	case errors.Is(err, syscall.ECONNREFUSED) && unix:
		return &handshakeProblem{"nobody listens on this socket: connection refused", start}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &handshakeProblem{"nothing listens there: connection refused", start}
	case errors.Is(err, syscall.ENOENT) && unix:
		return &handshakeProblem{"the socket does not exist: no such file", start}
	case errors.Is(err, syscall.EACCES) && unix:
		return &handshakeProblem{"this user may not connect to the socket: permission denied",
			"Run the command as the broker's user, or let listen.socket_mode of its configuration admit this one."}
	case errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH):
		return &handshakeProblem{"there is no route to this host", "See whether the address is right, and the network of this machine."}
	}
	return nil
}

// alertIn finds the alert that the other end sent. Package tls has a type of its own for it,
// which has the text in common with tls.AlertError.
func alertIn(err error) (alert tls.AlertError, found bool) {
	var failed *net.OpError
	if !errors.As(err, &failed) || failed.Op != "remote error" {
		return 0, false
	}
	for code := range 1 << 8 {
		if alert := tls.AlertError(code); alert.Error() == failed.Err.Error() {
			return alert, true
		}
	}
	return 0, false
}

func withoutPrefix(err error) string { return strings.TrimPrefix(err.Error(), "x509: ") }

// Alerts of TLS (RFC 8446, 6.2).
const (
	badCertificate        tls.AlertError = 42
	unknownCA             tls.AlertError = 48
	protocolVersion       tls.AlertError = 70
	certificateRequired   tls.AlertError = 116
	noApplicationProtocol tls.AlertError = 120
)

// explainAlert says what the broker has against the connection.
func explainAlert(alert tls.AlertError) *handshakeProblem {
	said := strings.TrimPrefix(alert.Error(), "tls: ")
	switch {
	case alert == certificateRequired:
		return &handshakeProblem{"what answers there demands a client certificate", "Give one with --tls-cert FILE and --tls-key FILE."}
	case badCertificate <= alert && alert <= unknownCA:
		return &handshakeProblem{"the client certificate is refused: " + said,
			"Give one, with --tls-cert and --tls-key, that is valid now and that an authority in the broker's listen.tls.client_ca_file has signed."}
	case alert == noApplicationProtocol:
		return &handshakeProblem{"what answers there speaks TLS, and no gRPC: " + said, "Use the port of listen.grpc: this one may be that of listen.http."}
	case alert == protocolVersion:
		return &handshakeProblem{"there is no version of TLS that both speak: " + said, "See listen.tls.min_version of the broker, and what stands between."}
	}
	return &handshakeProblem{"the connection is refused: " + said, "The broker's log says more at the level debug."}
}

// unconnected explains why calls got no answer; nil when nothing was seen of it.
func (c *connection) unconnected() error {
	failure := c.handshakes.last()
	if known := explainHandshake(failure); known != nil {
		return known
	}
	if known := c.explainDial(failure); known != nil {
		return known
	}
	switch ended := errors.Is(failure, io.EOF) || errors.Is(failure, syscall.ECONNRESET) || errors.Is(failure, io.ErrUnexpectedEOF); {
	case failure == nil:
		return nil
	case ended && c.tls:
		return &handshakeProblem{"the connection was ended before it was encrypted",
			"See whether the port is that of listen.grpc, and whether the broker has listen.tls and is not about to stop."}
	case ended:
		return &handshakeProblem{"the server closed the connection without replying",
			"If the broker has listen.tls: add --tls, or --tls-ca FILE for an authority of your own. If not, it is about to stop."}
	}
	return errors.New(printable(failure.Error()))
}

// howToProve is what to do about a broker that does not know who calls.
func (c *connection) howToProve() string {
	certificate, token := c.files.CertificateFile != "", c.tokenFile != ""
	switch {
	case token && certificate:
		return "It accepts neither the token nor the client certificate: see 'authentication' and listen.tls.client_ca_file of its configuration."
	case token:
		return "It does not accept the token: see 'authentication' of its configuration, and whether the token has expired."
	case certificate:
		return "It does not accept the client certificate: see listen.tls.client_ca_file of its configuration, without which it asks for none."
	case c.address.network == "unix":
		return "Prove who you are with --token-file FILE, or let 'authentication' of its configuration have peer_user."
	}
	return "Prove who you are: with --token-file FILE, or with --tls-cert FILE and --tls-key FILE."
}
