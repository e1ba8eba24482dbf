package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"
)

// Cause returns the cause of a failed request, in words that can end a sentence. Unlike the errors
// of net/http, Cause quotes no URLs, addresses or proxy passwords.
func Cause(err error) string {
	for _, refusal := range []error{ErrAddressRefused, ErrNotHTTPS, ErrNoHost} {
		if errors.Is(err, refusal) {
			return refusal.Error()
		}
	}
	operation, _ := errors.AsType[*net.OpError](err)
	timeout, _ := errors.AsType[net.Error](err)
	switch {
	case operation != nil && operation.Op == "proxyconnect":
		return "the proxy that HTTPS_PROXY names cannot be reached"
	case errors.Is(err, context.DeadlineExceeded), timeout != nil && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "the request was cancelled"
	case contains[*net.DNSError](err):
		return "the host name cannot be resolved"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "the connection was reset"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was cut off"
	case contains[x509.HostnameError](err):
		return "the server's certificate is for another host"
	case contains[x509.UnknownAuthorityError](err):
		return "the server's certificate is signed by an unknown authority"
	case contains[x509.CertificateInvalidError](err), contains[*tls.CertificateVerificationError](err):
		return "the server's certificate is not valid"
	default:
		return "the connection failed"
	}
}

func contains[E error](err error) bool {
	_, found := errors.AsType[E](err)
	return found
}
