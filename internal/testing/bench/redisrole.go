package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/authmaterial/broker/internal/testing/redistest"
)

// redisServer is what serveRedis sends to the parent process.
type redisServer struct {
	// Address is the host:port of the Redis server.
	Address string
	Process int
}

// portAttempts is how many ports are tried. Another process can take a free port before Redis
// listens on it.
const portAttempts = 3

func serveRedis(ctx context.Context, _ task, answer func(any) error) error {
	program, err := redistest.Find()
	if err != nil {
		return err
	}
	for range portAttempts {
		var answered bool
		if answered, err = runRedis(ctx, program, answer); answered || ctx.Err() != nil {
			break
		}
	}
	return err
}

// runRedis runs a redis-server process until it or ctx ends, and reports whether the process became
// ready.
func runRedis(ctx context.Context, program string, answer func(any) error) (answered bool, err error) {
	address, port, err := freePort(ctx)
	if err != nil {
		return false, err
	}
	command := exec.CommandContext(ctx, program, //nolint:gosec // redistest.Find returned the path
		"--port", port, "--bind", "127.0.0.1", "--dir", os.TempDir(), "--save", "", "--appendonly", "no")
	// Redis gets its own process group, so that an interrupt from the terminal does not reach it.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := command.Start(); err != nil {
		return false, fmt.Errorf("start %s: %w", program, err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		switch {
		case answered: // the rest of the log is not needed
		case strings.Contains(lines.Text(), "Ready to accept connections"):
			answered = true
			if err := answer(redisServer{Address: address, Process: command.Process.Pid}); err != nil {
				return true, errors.Join(err, command.Cancel())
			}
		default:
			fmt.Fprintln(&said, lines.Text())
		}
	}
	return answered, fmt.Errorf("%s ended: %w\n%s", program, command.Wait(), &said)
}

func freePort(ctx context.Context) (address, port string, err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	port = strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	return listener.Addr().String(), port, listener.Close()
}
