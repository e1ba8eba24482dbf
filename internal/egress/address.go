package egress

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
)

// special lists the address ranges in which no provider can be, in addition to the ranges that
// package netip recognises. The ranges come from IANA's special-purpose registries for IPv4 and
// IPv6. 168.63.129.16 is a public address that a cloud uses internally.
var special = []string{
	"0.0.0.0/8",        // this network
	"100.64.0.0/10",    // behind a carrier's NAT
	"168.63.129.16/32", // Azure's platform
	"192.0.0.0/24",     // protocol assignments
	"192.0.2.0/24",     // documentation
	"192.88.99.0/24",   // 6to4 relays
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"240.0.0.0/4",      // reserved, and broadcast
	"2001::/23",        // protocol assignments, among them Teredo and benchmarks
	"2001:db8::/32",    // documentation
	"3fff::/20",        // documentation
}

// isPublic reports whether an address belongs to the public internet: it is not private,
// link-local, loopback or special. An IPv6 address that is translated into an IPv4 address is
// public if the IPv4 address is public. An address with a zone is not public.
func isPublic(address netip.Addr) bool {
	address = embedded(address.Unmap())
	if !address.IsGlobalUnicast() || address.IsPrivate() || address.Is6() && !within(address, "2000::/3") {
		return false
	}
	return !slices.ContainsFunc(special, func(prefix string) bool { return within(address, prefix) })
}

func within(address netip.Addr, prefix string) bool {
	return netip.MustParsePrefix(prefix).Contains(address)
}

// embedded returns the IPv4 address that an IPv6 address is translated into, or the address
// itself if there is none.
func embedded(address netip.Addr) netip.Addr {
	bytes := address.As16()
	switch {
	case within(address, "64:ff9b::/96"): // NAT64
		return netip.AddrFrom4([4]byte(bytes[12:]))
	case within(address, "2002::/16"): // 6to4
		return netip.AddrFrom4([4]byte(bytes[2:6]))
	default:
		return address
	}
}

var (
	dnsName = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
	// numberAtEnd matches a name whose last label is a decimal or hexadecimal number.
	numberAtEnd = regexp.MustCompile(`(^|\.)([0-9]+|0[xX][0-9A-Fa-f]*)$`)
)

// IsHost reports whether the host of a URL, without port and brackets, is valid: an IP address
// in the notation of package netip, or a DNS name. A DNS name consists of ASCII letters, digits,
// hyphens, underscores and dots. It does not end with a dot, and its last label is not a number.
// Resolvers read other notations, such as 127.1, 0x7f000001 and 2130706433, as addresses, and a
// proxy would receive them unchecked.
func IsHost(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || dnsName.MatchString(host) && !numberAtEnd.MatchString(host)
}

// IsPort reports whether the port of a URL is a number from 1 to 65535, or empty for the
// scheme's default port.
func IsPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && port > 0
}
