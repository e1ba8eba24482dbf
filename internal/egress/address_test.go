package egress_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"testing"

	"github.com/authmaterial/broker/internal/egress"
)

var (
	refused = []string{
		"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.255.255", // RFC 1918
		"169.254.169.254", "169.254.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", // metadata services
		"100.64.0.0", "100.127.255.255", // clients behind a carrier's NAT
		"0.0.0.0", "0.1.2.3", "::", "255.255.255.255", "240.0.0.1",
		"224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1",
		"198.18.0.1", "198.19.255.255", "2001:2::1",
		"192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1",
		"fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fdff::1",
		"::ffff:10.0.0.1", "::ffff:169.254.169.254", // IPv4-mapped IPv6 addresses
		"::10.0.0.1", "::ffff:0:10.0.0.1", // IPv4-compatible and IPv4-translated IPv6 addresses
		"64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::8.8.8.8", // NAT64
		"2002:a00:1::", "2002:7f00:1::", "2002:a9fe:a9fe::1", // 6to4
		"2001::1", "100::1", "5f00::1", "4000::1",
	}
	public = []string{
		"8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0", "169.253.255.255",
		"192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.17",
		"2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1",
	}
)

// `given` calls RoundTrip with a cancelled context, and returns the error. The cancelled context
// prevents requests even to allowed addresses.
func given(ctx context.Context, t *testing.T, transport http.RoundTripper, location string) error {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, location, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := transport.RoundTrip(request)
	if err == nil {
		_ = answer.Body.Close()
	}
	return err
}

func locate(address string) string {
	return (&url.URL{Scheme: "https", Host: netip.AddrPortFrom(netip.MustParseAddr(address), 443).String()}).String()
}

func TestLiteralAddresses(t *testing.T) {
	direct := egress.NewTransport(egress.Options{Proxy: noProxy})
	proxied := egress.NewTransport(egress.Options{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "127.0.0.1:1"})})
	for _, address := range refused {
		for name, transport := range map[string]http.RoundTripper{"directly": direct, "through a proxy": proxied} {
			if err := given(t.Context(), t, transport, locate(address)); !errors.Is(err, egress.ErrAddressRefused) {
				t.Errorf("%s %s: the error is %v, want ErrAddressRefused", address, name, err)
			}
		}
		if err := given(egress.AllowPrivate(t.Context()), t, direct, locate(address)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with AllowPrivate: the error is %v, want context.Canceled", address, err)
		}
	}
	for _, address := range append(public, "127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1") {
		if err := given(t.Context(), t, direct, locate(address)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the error is %v, want context.Canceled", address, err)
		}
	}
}

// TestResolvedAddresses checks that a request is refused if its host name resolves to a refused
// address, or to this machine. A request to this machine is allowed only if the URL contains a
// literal loopback address.
func TestResolvedAddresses(t *testing.T) {
	names := newNames(t)
	transport := egress.NewTransport(egress.Options{Proxy: noProxy, Resolver: names.resolver()})
	for _, address := range append(refused, "127.0.0.1", "::1") {
		ip := netip.MustParseAddr(address)
		if ip.Zone() != "" || ip.Is4In6() { // DNS can return neither zones nor IPv4-mapped addresses
			continue
		}
		names.set(ip)
		if _, err := get(t.Context(), t, transport, "https://example.com/"); !errors.Is(err, egress.ErrAddressRefused) {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, location := range []string{"https://localhost:1/", "https://127.1:1/", "https://2130706433:1/"} {
		if _, err := get(t.Context(), t, transport, location); err == nil {
			t.Errorf("%s: the request succeeded, want an error", location)
		}
	}
	if _, err := get(t.Context(), t, egress.NewTransport(egress.Options{Proxy: noProxy}), "https://localhost:1/"); !errors.Is(err, egress.ErrAddressRefused) {
		t.Errorf("localhost: %v", err)
	}
}

func TestOnlyHTTPS(t *testing.T) {
	transport := egress.NewTransport(egress.Options{Proxy: noProxy})
	for _, location := range []string{"http://example.com/", "http://8.8.8.8/", "http://localhost/", "ftp://example.com/"} {
		for _, ctx := range []context.Context{t.Context(), egress.AllowPrivate(t.Context())} {
			if err := given(ctx, t, transport, location); !errors.Is(err, egress.ErrNotHTTPS) {
				t.Errorf("%s: %v", location, err)
			}
		}
	}
}
