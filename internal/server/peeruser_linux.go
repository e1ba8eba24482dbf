package server

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerUserID returns the user of the process that connected, as it was then. What is
// wrapped around a connection has to be a syscall.Conn, too.
func peerUserID(connection net.Conn) (*uint32, error) {
	socket, ok := connection.(syscall.Conn)
	if !ok {
		return nil, errors.New("the connection hides its socket")
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
