package egress

import (
	"net/netip"
)

// special are addresses that belong to no one on the public internet, beside those that
// package netip knows: IANA's special-purpose registries for IPv4 and IPv6.
var special = prefixes(
	"0.0.0.0/8",       // this network
	"100.64.0.0/10",   // behind a carrier's NAT
	"192.0.0.0/24",    // protocol assignments
	"192.0.2.0/24",    // documentation
	"198.18.0.0/15",   // benchmarks
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"240.0.0.0/4",     // reserved, and broadcast
	"::/96",           // IPv4-compatible
	"64:ff9b:1::/48",  // a network's own NAT64
	"100::/64",        // discard
	"2001::/32",       // Teredo
	"2001:2::/48",     // benchmarks
	"2001:db8::/32",   // documentation
	"3fff::/20",       // documentation
	"5f00::/16",       // segment routing
	"fec0::/10",       // site-local
)

var (
	nat64   = netip.MustParsePrefix("64:ff9b::/96")
	sixTo4  = netip.MustParsePrefix("2002::/16")
	v4Bytes = 4
)

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// isPublic says whether an address is on the public internet: not private, local to a
// link or this machine, or special. An IPv6 address that leads to an IPv4 one is what
// that is.
func isPublic(address netip.Addr) bool {
	address = embedded(address.Unmap().WithZone(""))
	if !address.IsGlobalUnicast() || address.IsPrivate() {
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
		v4, _ := netip.AddrFromSlice(bytes[16-v4Bytes:])
		return v4
	case sixTo4.Contains(address):
		v4, _ := netip.AddrFromSlice(bytes[2 : 2+v4Bytes])
		return v4
	default:
		return address
	}
}
