package egress

import (
	"net/netip"
	"strings"
)

// IsHost reports whether a URL's host, without port and brackets, is an IP address as
// package netip writes it, or a DNS name: letters of ASCII, digits, hyphens and underscores,
// without a dot at the end, the last label no number. Resolvers take other forms for
// addresses, such as 127.1, 0x7f000001 and 2130706433, and a proxy would get them unchecked.
func IsHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	labels := strings.Split(strings.ToLower(host), ".")
	for _, label := range labels {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	last := labels[len(labels)-1]
	if hexadecimal, ok := strings.CutPrefix(last, "0x"); ok && strings.Trim(hexadecimal, "0123456789abcdef") == "" {
		return false
	}
	return strings.Trim(last, "0123456789") != ""
}
