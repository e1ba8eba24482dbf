package authentication

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"

	"github.com/lestrrat-go/httprc/v3"

	"github.com/authmaterial/broker/internal/egress"
)

// reportFetching logs when keys can no longer be fetched, and when they can again.
func reportFetching(logger *slog.Logger, issuer string) func(error) {
	var (
		mu     sync.Mutex
		failed bool
	)
	return func(err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil && !failed:
			logger.Warn("the keys of a token issuer cannot be fetched", "issuer", issuer, "cause", whyUnfetched(err))
		case err == nil && failed:
			logger.Info("the keys of a token issuer can be fetched again", "issuer", issuer)
		}
		failed = err != nil
	}
}

// reportIgnored logs how many keys of an issuer are not used, and which are the first.
func reportIgnored(logger *slog.Logger, issuer string) func([]string, int) {
	return func(places []string, count int) {
		logger.Warn("some keys of a token issuer are ignored: they are malformed, private, symmetric, or of a type, size or algorithm that is not supported; the others are used",
			"issuer", issuer, "count", count, "keys", places)
	}
}

// whyUnfetched says in words of ours why a request for keys failed. The errors themselves
// quote the URL.
func whyUnfetched(err error) string {
	var (
		lookup      *net.DNSError
		operation   *net.OpError
		certificate *tls.CertificateVerificationError
		timeout     net.Error
	)
	switch {
	case errors.Is(err, egress.ErrAddressRefused):
		return "the host has a private, local or special address, and the issuer has no allow_private_addresses"
	case errors.As(err, &operation) && operation.Op == "proxyconnect":
		return "the proxy that HTTPS_PROXY names cannot be reached"
	case errors.Is(err, httprc.ErrUnexpectedStatusCode()):
		return "the status of the answer is not 200"
	case errors.Is(err, errNoKey):
		return "the answer " + errNoKey.Error()
	case errors.Is(err, errManyKeys):
		return "the answer " + errManyKeys.Error()
	case errors.Is(err, httprc.ErrTransformerFailed()):
		return "the answer holds no JSON Web Key Set of up to 1 MiB"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.As(err, &lookup):
		return "the host name cannot be resolved"
	case errors.As(err, &certificate):
		return "the server's certificate is not valid, or signed by an unknown authority"
	default:
		return "the connection failed"
	}
}
