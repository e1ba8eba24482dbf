package server

import (
	"context"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/rpc"
)

// handshakes are the transport credentials of the gRPC server. Each handshake creates an *rpc.Peer
// with the client certificate, if the client sent one over TCP, or with the user of the client's
// process over a Unix socket.
type handshakes struct {
	credentials.TransportCredentials // for TCP

	service *rpc.Service
	failed  func(client net.Addr, err error)
	private bool // whether only the broker's own user can open the Unix socket
}

func (s *Server) newHandshakes(service *rpc.Service) handshakes {
	overTCP := insecure.NewCredentials()
	if s.hasTLS() {
		overTCP = credentials.NewTLS(s.tlsConfig(protocolGRPC))
	}
	return handshakes{overTCP, service, s.observer.HandshakeFailed, s.fixed.Listen.IsPrivate(s.fixed.Listen.GRPC)}
}

// ServerHandshake implements credentials.TransportCredentials. On an operating system that reports
// the users of Unix socket connections, ServerHandshake fails if the user is unknown.
func (h handshakes) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	admitted, ok := raw.(*admission.Conn)
	if !ok {
		return nil, nil, errors.New("the connection does not come from the listener of package admission")
	}
	p := &rpc.Peer{Conn: admitted, Address: raw.RemoteAddr().String(), Local: !isRemote(raw.LocalAddr())}
	conn := raw
	if raw.LocalAddr().Network() == "unix" {
		id, err := peerUserID(admitted.Conn)
		if err != nil {
			return nil, nil, fmt.Errorf("find the user at the other end of a socket: %w", err)
		}
		p.UserID, p.Address, p.PrivateSocket = id, rpc.UnixAddress, h.private
		p.SecurityLevel = credentials.PrivacyAndIntegrity
	} else {
		encrypted, info, err := h.TransportCredentials.ServerHandshake(raw)
		if err != nil {
			h.failed(raw.RemoteAddr(), err)
			return nil, nil, err
		}
		conn = encrypted
		if overTLS, ok := info.(credentials.TLSInfo); ok {
			p.Certificates = overTLS.State.PeerCertificates
			p.SecurityLevel = credentials.PrivacyAndIntegrity
		}
	}
	h.service.Prove(context.Background(), p)
	return conn, p, nil
}

// Clone implements credentials.TransportCredentials.
func (h handshakes) Clone() credentials.TransportCredentials {
	h.TransportCredentials = h.TransportCredentials.Clone()
	return h
}
