package admission

import (
	"net"
	"net/netip"
)

// subnet is how many bits of an IPv6 address one customer of a network has for itself.
const subnet = 64

// Source is where a connection comes from: an IPv4 address or IPv6 /64 network. It is the zero
// Source for connections over a Unix socket.
type Source struct{ network netip.Prefix }

// SourceOf returns the source of a remote address, which may be nil.
func SourceOf(address net.Addr) Source {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return Source{}
	}
	ip := tcp.AddrPort().Addr().Unmap()
	prefix, err := ip.WithZone("").Prefix(min(ip.BitLen(), subnet))
	if err != nil {
		return Source{} // only for an address that is invalid
	}
	return Source{prefix}
}
