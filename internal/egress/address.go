package egress

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
)

// No provider can be in these address ranges. Package netip has no methods that recognise them.
// Except for 168.63.129.16, a public address that the cloud Azure uses internally, the address
// ranges come from IANA's special-purpose registries for IPv4 and IPv6.
var special = []string{
	"0.0.0.0/8",        // the local network
	"100.64.0.0/10",    // clients behind a carrier's NAT
	"168.63.129.16/32", // services of the Azure platform
	"192.0.0.0/24",     // protocol assignments
	"192.0.2.0/24",     // documentation
	"192.88.99.0/24",   // 6to4 relays
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"240.0.0.0/4",      // reserved, and broadcast
	"2001::/23",        // protocol assignments, including Teredo and benchmarks
	"2001:db8::/32",    // documentation
	"3fff::/20",        // documentation
}

// isPublic reports whether an address belongs to the public internet: it is not private,
// link-local, loopback or special, and has no zone. An IPv6 address that a gateway translates into
// an IPv4 address is public if the IPv4 address is public.
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

// `embedded` returns the IPv4 address into which an IPv6 address is translated, or the given address
// if there is none.
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
	dnsName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*$`)
	// numberAtEnd matches a host name whose last label is a decimal or hexadecimal number.
	numberAtEnd = regexp.MustCompile(`(^|\.)([0-9]+|0[xX][0-9A-Fa-f]*)$`)
)

// IsHost reports whether the host of a URL, without port and brackets, is an IP address in the
// notation of package netip, or a DNS name. A DNS name has up to 253 characters and consists of labels
// of up to 63 ASCII letters, digits, hyphens and underscores, separated by dots. The last label must
// not be a number: resolvers interpret texts such as 127.1, 0x7f000001 and 2130706433 as addresses,
// which a proxy would receive unchecked if IsHost accepted them.
func IsHost(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || len(host) <= 253 && dnsName.MatchString(host) && !numberAtEnd.MatchString(host)
}

// IsPort reports whether the port of a URL is a number from 1 to 65535, or empty for the default
// port of the URL's scheme.
func IsPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && port > 0
}
