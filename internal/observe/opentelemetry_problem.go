package observe

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"syscall"

	"github.com/go-logr/logr"
)

// why says in words of ours why spans were not sent. The errors themselves quote the
// endpoint's URL and the collector's answer.
func why(err error) string {
	var (
		lookup      *net.DNSError
		certificate *tls.CertificateVerificationError
		timeout     net.Error
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "the collector did not answer in time"
	case errors.As(err, &lookup):
		return "the collector's host name cannot be resolved"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the collector refused the connection"
	case errors.As(err, &certificate):
		return "the collector's certificate is not valid, or signed by an unknown authority"
	default:
		return "the collector cannot be reached, or does not take them"
	}
}

// sink logs what OpenTelemetry says of itself, less the values: among them are headers
// with the keys of collectors.
type sink struct{ logger *slog.Logger }

func (sink) Init(logr.RuntimeInfo) {}

func (sink) Enabled(int) bool { return false }

func (sink) Info(int, string, ...any) {}

func (s sink) Error(_ error, message string, _ ...any) {
	s.logger.Warn("OpenTelemetry has a problem, such as with its variables", "problem", message)
}

func (s sink) WithValues(...any) logr.LogSink { return s }

func (s sink) WithName(string) logr.LogSink { return s }
