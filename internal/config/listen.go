package config

import (
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/authmaterial/broker/internal/strictyaml"
)

// Listen says where the broker answers.
type Listen struct {
	GRPC Address
	HTTP Address
	// SocketMode is the file mode of Unix sockets.
	SocketMode fs.FileMode
}

// Address is one that net.Listen takes.
type Address struct {
	Network string // tcp or unix
	Address string
}

// String is the form that gRPC clients take too.
func (a Address) String() string {
	if a.Network == "unix" {
		return "unix://" + a.Address
	}
	return a.Address
}

// The defaults of Listen.
const (
	defaultGRPC       = "127.0.0.1:50051"
	defaultHTTP       = "127.0.0.1:9464"
	defaultSocketMode = 0o600
)

func parseListen(value strictyaml.Value) Listen {
	listen := Listen{
		GRPC:       parseAddress(value.Key("grpc"), defaultGRPC),
		HTTP:       parseAddress(value.Key("http"), defaultHTTP),
		SocketMode: defaultSocketMode,
	}
	if mode, err := strconv.ParseUint(value.Key("socket_mode").Text(), 8, 9); err == nil {
		listen.SocketMode = fs.FileMode(mode)
	}
	if listen.GRPC == listen.HTTP && !strings.HasSuffix(listen.GRPC.Address, ":0") {
		value.Key("http").Problemf("must differ from listen.grpc: use another port")
	}
	return listen
}

// parseAddress reads a loopback address with a port, or `unix:///path`. Callers are not
// authenticated, so nothing else is safe.
func parseAddress(value strictyaml.Value, otherwise string) Address {
	text := value.Text()
	if text == "" {
		return Address{Network: "tcp", Address: otherwise}
	}
	if path, found := strings.CutPrefix(text, "unix://"); found {
		if !strings.HasPrefix(path, "/") {
			value.Problemf("a Unix socket needs an absolute path: unix:///run/broker.sock")
		}
		return Address{Network: "unix", Address: path}
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		value.Problemf("must be an address with a port, such as %s, or unix:///path", otherwise)
		return Address{}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		value.Problemf("the port must be a number from 0 to 65535")
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		value.Problemf("would listen beyond this machine, and callers are not authenticated yet: anybody who reaches the port would get the secrets. Use 127.0.0.1, [::1] or localhost with a port, or unix:///path")
	}
	return Address{Network: "tcp", Address: text}
}
