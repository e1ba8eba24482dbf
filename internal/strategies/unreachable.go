package strategies

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"syscall"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/egress"
	"github.com/authmaterial/broker/internal/fault"
)

// unreachable says why no answer came, in the broker's own words: the text of an error
// of net/http quotes the URL, and its wrapped errors can hold more.
func unreachable(provider *catalog.Provider, err error) *fault.Error {
	return fault.New(fault.ProviderUnavailable, provider.DisplayName+" cannot be reached: "+why(err))
}

func why(err error) string {
	var (
		lookup      *net.DNSError
		operation   *net.OpError
		unknown     x509.UnknownAuthorityError
		invalid     x509.CertificateInvalidError
		wrongHost   x509.HostnameError
		certificate *tls.CertificateVerificationError
		timeout     net.Error
	)
	switch {
	case errors.Is(err, egress.ErrAddressRefused):
		return "its host has a private, local or special address, to which no token request goes unless the provider's definition has allow_private_addresses"
	case errors.Is(err, egress.ErrNoHost):
		return "the host of its URL is no DNS name and no plain IP address"
	case errors.Is(err, egress.ErrNotHTTPS):
		return "its URL is not https"
	case errors.As(err, &operation) && operation.Op == "proxyconnect":
		return "the proxy that HTTPS_PROXY names cannot be reached"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "the request was given up"
	case errors.As(err, &lookup):
		return "its host name cannot be resolved"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "the connection was reset"
	case errors.As(err, &wrongHost):
		return "its certificate is for another host"
	case errors.As(err, &unknown):
		return "its certificate is signed by an unknown authority"
	case errors.As(err, &invalid), errors.As(err, &certificate):
		return "its certificate is not valid"
	default:
		return "the connection failed"
	}
}
