package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/authmaterial/broker/internal/config"
)

// Listen opens a listener at an address from the configuration. The file of a Unix socket gets the
// given mode, and replaces a socket file that a previous broker left behind.
func Listen(ctx context.Context, address config.Address, mode fs.FileMode) (net.Listener, error) {
	listener, err := listen(ctx, address, mode)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, cause(err))
	}
	return listener, nil
}

func listen(ctx context.Context, address config.Address, mode fs.FileMode) (net.Listener, error) {
	if address.Network == "unix" {
		if err := removeStale(ctx, address.Address); err != nil {
			return nil, err
		}
		// The mask for file modes is set before the socket is created. If the mode were changed
		// afterwards, other users could connect for a moment.
		before := syscall.Umask(int(0o777 &^ mode.Perm()))
		defer syscall.Umask(before)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, address.Network, address.Address)
	// Files such as /etc/hosts may give the name `localhost` an address that is not a loopback
	// address.
	if err == nil && !address.Remote && isRemote(listener.Addr()) {
		_ = listener.Close()
		return nil, fmt.Errorf("not a loopback address: %s", listener.Addr())
	}
	return listener, err
}

func isRemote(address net.Addr) bool {
	local, ok := address.(*net.TCPAddr)
	return ok && !local.IP.IsLoopback()
}

// removeStale removes the file of a Unix socket on which no process listens.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("the file exists and is not a socket: remove it, or change the address under 'listen'")
	}
	dialer := net.Dialer{Timeout: time.Second}
	connection, err := dialer.DialContext(ctx, "unix", path)
	if err == nil {
		_ = connection.Close()
		return errors.New("another process listens there")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("the socket of a broker that has ended cannot be removed: %w", cause(err))
	}
	return nil
}

// `cause` removes the address from an error, because Listen adds the address itself.
func cause(err error) error {
	var network *net.OpError
	if errors.As(err, &network) {
		return network.Err
	}
	var file *fs.PathError
	if errors.As(err, &file) {
		return file.Err
	}
	return err
}
