//go:build !linux

package server

import "net"

// peerUserID returns nil: of this system the broker does not know how it tells.
func peerUserID(net.Conn) (*uint32, error) { return nil, nil }
