package config

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/authmaterial/broker/internal/strictyaml"
)

// Listen says where the broker answers, and to whom.
type Listen struct {
	GRPC Address
	HTTP Address
	// SocketMode is the file mode of Unix sockets.
	SocketMode fs.FileMode
	// TLS is that of TCP, at both addresses; nil: none.
	TLS *ListenTLS
	// Authenticated reports whether callers over TCP can prove who they are: by certificate,
	// JSON Web Token or static token.
	Authenticated bool
	// InsecureAllowRemote allows remote addresses without TLS or Authenticated.
	InsecureAllowRemote bool
	// Reflection reports whether gRPC reflection answers.
	Reflection bool
}

// The bits of SocketMode that let others connect than the broker's user.
const (
	groupBits  = 0o070
	othersBits = 0o007
)

// OpenToGroup reports whether the socket's group can call.
func (l Listen) OpenToGroup() bool { return l.GRPC.Network == "unix" && l.SocketMode&groupBits != 0 }

// OpenToUsers reports whether every user of this machine can call over a Unix socket.
func (l Listen) OpenToUsers() bool { return l.GRPC.Network == "unix" && l.SocketMode&othersBits != 0 }

// checkSocket reports a mode that lets every user call, where no caller needs a grant.
func (l Listen) checkSocket(mode strictyaml.Value) {
	if l.OpenToUsers() {
		mode.Problemf("would have every user of this machine get the secrets: add 'grants', which say who may have them, such as uid:1000; " +
			"or let the broker's user alone connect, \"0600\", or its group too, \"0660\"")
	}
}

// Same reports whether a server that listens as l needs no restart to listen as other. What
// TLS has, and whether callers are authenticated, can change without one.
func (l Listen) Same(other Listen) bool {
	withTLS := l.TLS != nil
	l.TLS, l.Authenticated = other.TLS, other.Authenticated
	return l == other && withTLS == (other.TLS != nil)
}

// Address is one that net.Listen takes.
type Address struct {
	Network string // tcp or unix
	Address string
	// Remote reports whether it can be reached from other machines.
	Remote bool
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

// maxSocketPath is the longest path of a Unix socket, in bytes. The system keeps one for a NUL.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// parseListen reads where to listen. How callers are authenticated decides whether that
// can be beyond this machine.
func parseListen(value, authentication strictyaml.Value, reader sourceReader) Listen {
	tls := value.Key("tls")
	listen := Listen{
		GRPC:                parseAddress(value.Key("grpc"), defaultGRPC),
		HTTP:                parseAddress(value.Key("http"), defaultHTTP),
		SocketMode:          defaultSocketMode,
		TLS:                 parseListenTLS(tls, reader),
		InsecureAllowRemote: value.Key("insecure_allow_remote").Bool(),
		Authenticated: tls.Key("client_ca_file").Exists() ||
			len(authentication.Key("jwt").Items()) > 0 || len(authentication.Key("tokens").Items()) > 0,
	}
	if mode, err := strconv.ParseUint(value.Key("socket_mode").Text(), 8, 9); err == nil {
		listen.SocketMode = fs.FileMode(mode)
	}
	if listen.GRPC == listen.HTTP && !strings.HasSuffix(listen.GRPC.Address, ":0") {
		value.Key("http").Problemf("must differ from listen.grpc: use another port")
	}
	listen.Reflection = !listen.GRPC.Remote
	if reflection := value.Key("reflection"); reflection.Exists() {
		listen.Reflection = reflection.Bool()
	}
	if problem := listen.whyLocal(tls.Exists()); problem != "" {
		checkLocal(value.Key("grpc"), listen.GRPC, problem)
		checkLocal(value.Key("http"), listen.HTTP, problem)
	}
	listen.warnOfUnused(value, authentication)
	return listen
}

// warnOfUnused warns of keys that have no effect at these addresses.
func (l Listen) warnOfUnused(value, authentication strictyaml.Value) {
	sockets := []bool{l.GRPC.Network == "unix", l.HTTP.Network == "unix"}
	if value.Key("socket_mode").Exists() && !slices.Contains(sockets, true) {
		value.KeyNode("socket_mode").Warnf("has no effect: neither listen.grpc nor listen.http is a Unix socket")
	}
	if value.Key("tls").Exists() && !slices.Contains(sockets, false) {
		value.KeyNode("tls").Warnf("has no effect: listen.grpc and listen.http are Unix sockets, which have no TLS")
	}
	if l.InsecureAllowRemote && !l.GRPC.Remote && !l.HTTP.Remote {
		value.KeyNode("insecure_allow_remote").Warnf("has no effect: listen.grpc and listen.http are on this machine. Remove it, so that a change of an address is checked")
	}
	if authentication.Key("peer_user").Bool() && !sockets[0] {
		authentication.KeyNode("peer_user").Warnf("has no effect: listen.grpc is not a Unix socket")
	}
}

func checkLocal(value strictyaml.Value, address Address, problem string) {
	if address.Remote {
		value.Problemf("%s", problem)
	}
}

// whyLocal says why remote addresses are not allowed; empty: they are.
func (l Listen) whyLocal(withTLS bool) string {
	if l.InsecureAllowRemote {
		return ""
	}
	const callers = "listen.tls.client_ca_file, authentication.jwt or authentication.tokens"
	var lacks, add string
	switch {
	case !withTLS && !l.Authenticated:
		lacks, add = "TLS and authenticated callers", "listen.tls, and "+callers
	case !withTLS:
		lacks, add = "TLS", "listen.tls"
	case !l.Authenticated:
		lacks, add = "authenticated callers", callers
	default:
		return ""
	}
	return fmt.Sprintf("would listen beyond this machine without %s: add %s. Or use 127.0.0.1, [::1] or localhost with a port, or unix:///path. "+
		"'insecure_allow_remote: true' under 'listen' allows it as it is: then anybody on the network can get the secrets", lacks, add)
}

// parseAddress reads an address with a port, or `unix:///path`.
func parseAddress(value strictyaml.Value, otherwise string) Address {
	text := value.Text()
	if text == "" {
		return Address{Network: "tcp", Address: otherwise}
	}
	if path, found := strings.CutPrefix(text, "unix://"); found {
		switch {
		case !strings.HasPrefix(path, "/"):
			value.Problemf("a Unix socket needs an absolute path: unix:///run/broker.sock")
		case strings.HasSuffix(path, "/"):
			value.Problemf("names a folder: a Unix socket needs a file name, such as unix:///run/broker.sock")
		case len(path) > maxSocketPath:
			value.Problemf("the path of a Unix socket can have at most %d bytes", maxSocketPath)
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
	ip, err := netip.ParseAddr(host)
	return Address{Network: "tcp", Address: text, Remote: host != "localhost" && (err != nil || !ip.IsLoopback())}
}
