package egress

import (
	"net/netip"
)

// special are addresses of no provider, beside those that package netip knows: IANA's
// special-purpose registries for IPv4 and IPv6, and what clouds have at public addresses.
var special = prefixes(
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
)

var (
	// global is the part of IPv6 that is assigned to hosts on the public internet.
	global = netip.MustParsePrefix("2000::/3")
	nat64  = netip.MustParsePrefix("64:ff9b::/96")
	sixTo4 = netip.MustParsePrefix("2002::/16")
)

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// isPublic reports whether an address is on the public internet: not private, local to a
// link or this machine, or special. An IPv6 address that leads to an IPv4 one is what
// that is. One with a zone is not public.
func isPublic(address netip.Addr) bool {
	address = embedded(address.Unmap())
	if !address.IsGlobalUnicast() || address.IsPrivate() {
		return false
	}
	if address.Is6() && !global.Contains(address) {
		return false
	}
	for _, prefix := range special {
		if prefix.Contains(address) {
			return false
		}
	}
	return true
}

// embedded returns the IPv4 address that an IPv6 address leads to, or the address itself.
func embedded(address netip.Addr) netip.Addr {
	bytes := address.As16()
	switch {
	case nat64.Contains(address):
		return netip.AddrFrom4([4]byte(bytes[12:]))
	case sixTo4.Contains(address):
		return netip.AddrFrom4([4]byte(bytes[2:6]))
	default:
		return address
	}
}
