package egress

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
)

// The list `special` contains address ranges in which no provider can be. Package netip does not
// recognise these address ranges. The address ranges come from IANA's special-purpose registries
// for IPv4 and IPv6. One more entry, 168.63.129.16, is a public address that the cloud Azure
// uses internally.
var special = []string{
	"0.0.0.0/8",        // the own network
	"100.64.0.0/10",    // clients behind a carrier's NAT
	"168.63.129.16/32", // services of the Azure platform
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

// isPublic reports whether an address belongs to the public internet: it must not be private,
// link-local or loopback, nor in the list `special` of this package. If a gateway translates an
// IPv6 address into an IPv4 address, the IPv6 address is public if the IPv4 address is public.
// An address with a zone is not public.
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

// embedded returns the IPv4 address into which an IPv6 address is translated.
// If there is no such IPv4 address, the result is the given address.
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
	// numberAtEnd matches a host name whose last label is a decimal or hexadecimal number.
	numberAtEnd = regexp.MustCompile(`(^|\.)([0-9]+|0[xX][0-9A-Fa-f]*)$`)
)

// IsHost reports whether the host of a URL, without port and brackets, is valid. A valid host is
// an IP address in the notation of package netip, or a DNS name. A DNS name consists of ASCII
// letters, digits, hyphens, underscores and dots. A DNS name does not end with a dot, and its
// last label is not a number. Resolvers interpret texts such as 127.1, 0x7f000001 and 2130706433
// as addresses. If such a text were a valid host, a proxy would receive an unchecked address.
func IsHost(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || dnsName.MatchString(host) && !numberAtEnd.MatchString(host)
}

// IsPort reports whether the port of a URL is valid: a number from 1 to 65535, or empty for the
// default port of the URL's scheme.
func IsPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && port > 0
}
