package postgrestest

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// owner is the user that runs the server. PostgreSQL refuses to run as root, so root runs it as
// another user. A nil owner stands for the current user.
type owner struct{ uid, gid int }

func findOwner() (*owner, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // the current user
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(found.Uid)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.Atoi(found.Gid)
		return &owner{uid, gid}, err
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")
}

// give changes the owner of a file to this owner.
func (o *owner) give(path string) error {
	if o == nil {
		return nil
	}
	return os.Chown(path, o.uid, o.gid)
}

func (o *owner) attributes() *syscall.SysProcAttr {
	if o == nil {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}}
}

// The servers listen on ports below the ephemeral ports of Linux, which the servers of redistest do
// not use.
const (
	firstPort = 30_000
	ports     = 2_700
)

// reservePort returns a port and a reservation for this port: a socket on the UDP port with the
// same number. Until the reservation is closed, reservePort does not return the same port again,
// not even in another test binary.
func reservePort() (port int, reservation io.Closer, err error) {
	err = error(syscall.EADDRINUSE)
	for errors.Is(err, syscall.EADDRINUSE) {
		port = firstPort + rand.IntN(ports)
		reservation, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	}
	return port, reservation, err
}

// tailSize is how many bytes at the end of a log are kept.
const tailSize = 8 << 10

// output is a writer that keeps the end of a server's log. An output is safe for concurrent use.
type output struct {
	awaited string        // a text in the log line that shows that the server is ready
	ready   chan struct{} // a channel that is closed when the log contains the text

	mu   sync.Mutex
	tail string
	seen bool
}

func newOutput(awaited string) *output { return &output{awaited: awaited, ready: make(chan struct{})} }

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tail += string(p)
	if !o.seen && strings.Contains(o.tail, o.awaited) {
		o.seen = true
		close(o.ready)
	}
	o.tail = o.tail[max(0, len(o.tail)-tailSize):]
	return len(p), nil
}

// String returns the end of the log.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tail
}
