package server

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// peerUserID returns the user ID that the process at the other end of a Unix socket had when it
// connected.
func peerUserID(connection net.Conn) (*uint32, error) {
	socket, ok := connection.(*net.UnixConn)
	if !ok {
		return nil, errors.New("the connection is not a Unix socket")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	var failed error
	if err := raw.Control(func(descriptor uintptr) {
		peer, failed = unix.GetsockoptUcred(int(descriptor), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	return &peer.Uid, nil
}
