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

// Listen opens an address of the configuration. A Unix socket gets the file mode; one
// that a broker left behind without stopping is replaced.
func Listen(ctx context.Context, address config.Address, mode fs.FileMode) (net.Listener, error) {
	if address.Network == "unix" {
		return listenUnix(ctx, address.Address, mode)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, address.Network, address.Address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, cause(err))
	}
	// The name localhost leads where this machine's files say.
	if !address.Remote && isRemote(listener.Addr()) {
		_ = listener.Close()
		return nil, fmt.Errorf("listen on %s: that is %s, which is no loopback address", address, listener.Addr())
	}
	return listener, nil
}

// isRemote reports whether other machines can reach an address.
func isRemote(address net.Addr) bool {
	local, ok := address.(*net.TCPAddr)
	return ok && !local.IP.IsLoopback()
}

func listenUnix(ctx context.Context, path string, mode fs.FileMode) (net.Listener, error) {
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	// The mask, not a chmod afterwards: there is no moment at which others can connect.
	before := syscall.Umask(int(0o777 &^ mode.Perm()))
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	syscall.Umask(before)
	if err != nil {
		return nil, fmt.Errorf("listen on unix://%s: %w", path, cause(err))
	}
	return listener, nil
}

// removeStale removes a socket on which nobody answers.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listen on unix://%s: %w", path, cause(err))
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("listen on unix://%s: there is a file of that name that is no socket: remove it, or listen elsewhere", path)
	}
	dialer := net.Dialer{Timeout: time.Second}
	connection, err := dialer.DialContext(ctx, "unix", path)
	if err == nil {
		_ = connection.Close()
		return fmt.Errorf("listen on unix://%s: another process answers there", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("listen on unix://%s: %w", path, cause(err))
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("listen on unix://%s: what a broker left there cannot be removed: %w", path, cause(err))
	}
	return nil
}

// cause is an error without the address, which the sentence around it has.
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
