package draft

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"

	"github.com/authmaterial/broker/internal/egress"
)

// Host returns the host of a URL in the form that allowed_hosts has.
func Host(target *url.URL) (string, error) {
	host, name := strings.ToLower(target.Host), strings.ToLower(target.Hostname())
	switch {
	case strings.ContainsAny(target.Host, "${}<>%"):
		return "", errors.New("the host of the URL has a variable or a placeholder: write the host of one account")
	case !egress.IsHost(name):
		return "", errors.New("the host of the URL is neither a name in ASCII nor an IP address")
	case target.Scheme == "http" && target.Port() == "" && isLoopback(name):
		return host + ":80", nil
	}
	return strings.TrimSuffix(host, ":443"), nil
}

// secure reports whether the broker and its callers send secrets to a URL.
func secure(target *url.URL) bool {
	return target.Scheme == "https" || isLoopback(target.Hostname())
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}
