package config

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/authmaterial/broker/internal/yamlfile"
)

// Listen configures the addresses where the broker listens, and the callers that it accepts there.
type Listen struct {
	GRPC Address
	HTTP Address
	// SocketMode is the file mode of Unix sockets.
	SocketMode fs.FileMode
	// TLS is the configuration of TLS for the gRPC and HTTP addresses and for the console, or nil for
	// no TLS. Unix sockets never use TLS.
	TLS *ListenTLS
	// Authenticated is true if callers over TCP can authenticate by client certificate, JSON Web
	// Token or static token.
	Authenticated bool
	// InsecureAllowRemote allows remote addresses even without TLS or Authenticated.
	InsecureAllowRemote bool
	// Management lets callers on other machines manage credentials at the HTTP address. Callers on
	// this machine can manage credentials without this setting.
	Management bool
	// Reflection enables gRPC reflection.
	Reflection bool
}

// ListenTLS configures the broker's certificate and what the broker requires of TLS clients.
type ListenTLS struct {
	// Certificate is the broker's certificate, whose field Leaf is set.
	Certificate tls.Certificate
	// ClientCAs are the authorities that sign client certificates. If ClientCAs is nil, the broker
	// does not ask callers for a certificate.
	ClientCAs *x509.CertPool
	// MinVersion is tls.VersionTLS13 or tls.VersionTLS12.
	MinVersion uint16
}

// OpenToGroup reports whether members of the Unix socket's group can call the broker.
func (l Listen) OpenToGroup() bool { return l.GRPC.Network == "unix" && l.SocketMode&0o070 != 0 }

// OpenToUsers reports whether every user of this machine can call over a Unix socket.
func (l Listen) OpenToUsers() bool { return l.GRPC.Network == "unix" && l.SocketMode&0o007 != 0 }

// IsPrivate reports whether an address is a Unix socket that only the broker's own user can open.
func (l Listen) IsPrivate(address Address) bool {
	return address.Network == "unix" && l.SocketMode&0o077 == 0
}

// anySocket reports whether the broker listens at a Unix socket.
func (l Listen) anySocket() bool { return l.GRPC.Network == "unix" || l.HTTP.Network == "unix" }

// anyPrivate reports whether the broker listens at a private Unix socket.
func (l Listen) anyPrivate() bool { return l.IsPrivate(l.GRPC) || l.IsPrivate(l.HTTP) }

// Same reports whether a running server can change from one configuration to the other without a
// restart. A changed certificate or a change of the field Authenticated needs no restart.
func (l Listen) Same(other Listen) bool {
	withTLS := l.TLS != nil
	l.TLS, l.Authenticated = other.TLS, other.Authenticated
	return l == other && withTLS == (other.TLS != nil)
}

// Address is an address for net.Listen.
type Address struct {
	Network string // tcp or unix
	Address string
	// Remote is true if other machines can reach the address.
	Remote bool
}

func (a Address) String() string {
	if a.Network == "unix" {
		return "unix://" + a.Address
	}
	return a.Address
}

var socketMode = regexp.MustCompile(`^0[0-7]{3}$`)

func (p *parser) readListen(root yamlfile.Value, tokens bool) Listen {
	section := root.Get("listen")
	section.Mapping("grpc", "http", "socket_mode", "tls", "management", "insecure_allow_remote", "reflection")
	mode := section.Get("socket_mode").Match(socketMode, "must be a file mode in quotes, such as \"0660\"")
	listen := Listen{
		GRPC:                readAddress(section.Get("grpc"), "127.0.0.1:50051"),
		HTTP:                readAddress(section.Get("http"), "127.0.0.1:9464"),
		SocketMode:          0o600,
		TLS:                 p.readListenTLS(section.Get("tls")),
		Management:          section.Get("management").Bool(false),
		InsecureAllowRemote: section.Get("insecure_allow_remote").Bool(false),
		Authenticated:       section.Get("tls").Get("client_ca_file").Exists() || tokens,
	}
	if bits, err := strconv.ParseUint(mode, 8, 9); err == nil {
		listen.SocketMode = fs.FileMode(bits)
	}
	if listen.GRPC == listen.HTTP && !strings.HasSuffix(listen.GRPC.Address, ":0") {
		cmp.Or(section.Get("http"), section).Problemf("must differ from listen.grpc: use another port")
	}
	listen.Reflection = section.Get("reflection").Bool(!listen.GRPC.Remote)
	listen.checkRemote(section)
	listen.warnOfUnused(section, root)
	return listen
}

func (l Listen) warnOfUnused(section, root yamlfile.Value) {
	if !l.anySocket() {
		section.Get("socket_mode").Key().Warnf("has no effect: neither listen.grpc nor listen.http is a Unix socket")
	}
	if l.GRPC.Network == "unix" && l.HTTP.Network == "unix" && !root.Get("console").Exists() {
		section.Get("tls").Key().Warnf("has no effect: listen.grpc and listen.http are Unix sockets, which have no TLS")
	}
	if l.InsecureAllowRemote && !l.GRPC.Remote && !l.HTTP.Remote {
		section.Get("insecure_allow_remote").Key().Warnf("has no effect: listen.grpc and listen.http are on this machine. Remove this setting, so that a change of an address is checked")
	}
	if l.Management && !l.HTTP.Remote {
		section.Get("management").Key().Warnf("has no effect: only this machine can reach listen.http, where management is always on")
	}
	if authentication := root.Get("authentication"); authentication.Get("peer_user").Bool(false) && !l.anySocket() {
		authentication.Get("peer_user").Key().Warnf("has no effect: neither listen.grpc nor listen.http is a Unix socket")
	}
}

// checkRemote reports each address that other machines can reach without TLS or authentication.
func (l Listen) checkRemote(section yamlfile.Value) {
	var lacks, add []string
	if !section.Get("tls").Exists() {
		lacks, add = append(lacks, "TLS"), append(add, "listen.tls")
	}
	if !l.Authenticated {
		lacks = append(lacks, "authenticated callers")
		add = append(add, "listen.tls.client_ca_file, authentication.jwt or authentication.tokens")
	}
	if l.Management && l.HTTP.Remote && !section.Get("tls").Exists() {
		section.Get("management").Problemf("needs listen.tls: without TLS, secrets that callers send could be read on the network")
	}
	for key, address := range map[string]Address{"grpc": l.GRPC, "http": l.HTTP} {
		if address.Remote && lacks != nil && !l.InsecureAllowRemote {
			section.Get(key).Problemf("would listen beyond this machine without %s: add %s. Or use 127.0.0.1, [::1] or localhost with a port, or unix:///path. 'insecure_allow_remote: true' under 'listen' permits this, but then anybody on the network can get the secrets",
				strings.Join(lacks, " and "), strings.Join(add, ", and "))
		}
	}
}

// maxSocketPath is the longest path of a Unix socket, in bytes. The system's limit also includes
// the NUL byte at the end.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

func readAddress(value yamlfile.Value, otherwise string) Address {
	text := value.Text(yamlfile.MaxText)
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
	return readHostPort(value, "must be an address with a port, such as "+otherwise+", or unix:///path")
}

// readHostPort reports the given problem if the value is not an address with a port.
func readHostPort(value yamlfile.Value, problem string) Address {
	text := value.Text(yamlfile.MaxText)
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		value.Problemf("%s", problem)
		return Address{}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		value.Problemf("the port must be a number from 0 to 65535")
	}
	return Address{Network: "tcp", Address: text, Remote: !IsThisMachine(host)}
}

// IsThisMachine reports whether a host is localhost or a loopback address.
func IsThisMachine(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// readListenTLS returns nil if the section is missing or a problem was reported.
func (p *parser) readListenTLS(section yamlfile.Value) *ListenTLS {
	if !section.Exists() {
		return nil
	}
	section.Mapping("certificate_file", "key_file", "client_ca_file", "min_version")
	listen := &ListenTLS{MinVersion: tls.VersionTLS13, ClientCAs: p.readPool(section.Get("client_ca_file"))}
	if section.Get("min_version").OneOf("1.2", "1.3") == "1.2" {
		listen.MinVersion = tls.VersionTLS12
	}
	if !section.Get("certificate_file").Exists() && !section.Get("key_file").Exists() {
		section.Problemf("must have certificate_file and key_file")
	}
	pairs := p.readKeyPair(section)
	if pairs == nil {
		return nil
	}
	listen.Certificate = pairs[0]
	leaf := pairs[0].Leaf
	forServers := slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny)
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 && !forServers {
		section.Get("certificate_file").Problemf("the first certificate is not for servers: its extended key usage lacks serverAuth")
	}
	return listen
}
