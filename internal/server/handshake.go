package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/rpc"
)

// handshakes are the credentials of the gRPC server. Each connection gets a *rpc.Peer. Over a Unix
// socket that has the user at the other end; otherwise there may be TLS.
type handshakes struct {
	credentials.TransportCredentials // over TCP

	server  *Server
	service *rpc.Service
}

// newHandshakes returns credentials with TLS for TCP if the server has any.
func newHandshakes(s *Server, service *rpc.Service) handshakes {
	overTCP := insecure.NewCredentials()
	if s.tls != nil {
		overTCP = credentials.NewTLS(s.tls.config(protocolGRPC))
	}
	return handshakes{overTCP, s, service}
}

// ServerHandshake implements credentials.TransportCredentials. Over a Unix socket it fails where
// the system does not name the user that it could name.
func (h handshakes) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	made := &rpc.Peer{Address: raw.RemoteAddr().String(), Local: !isRemote(raw.LocalAddr())}
	made.Conn, _ = raw.(*admission.Conn)
	conn := raw
	if raw.LocalAddr().Network() == "unix" {
		id, err := peerUserID(raw)
		if err != nil {
			return nil, nil, fmt.Errorf("find the user at the other end of a socket: %w", err)
		}
		made.UserID, made.Address = id, "unix"
		made.SecurityLevel = credentials.PrivacyAndIntegrity
	} else {
		encrypted, info, err := h.TransportCredentials.ServerHandshake(raw)
		if err != nil {
			h.failed(raw.RemoteAddr(), err)
			return nil, nil, err
		}
		conn = encrypted
		if over, ok := info.(credentials.TLSInfo); ok {
			made.Certificates = over.State.PeerCertificates
			made.SecurityLevel = credentials.PrivacyAndIntegrity
		}
	}
	h.service.Prove(context.Background(), made)
	return conn, made, nil
}

// Clone implements credentials.TransportCredentials.
func (h handshakes) Clone() credentials.TransportCredentials {
	return handshakes{h.TransportCredentials.Clone(), h.server, h.service}
}

// failed logs a handshake that failed: a client certificate that ended it like a call that was
// refused, and anything else for debugging.
func (h handshakes) failed(client net.Addr, err error) {
	logger := h.server.logger
	var wrong *tls.CertificateVerificationError
	switch {
	case errors.As(err, &wrong):
		h.server.identities.certificate.Inc()
		if h.server.limits.lines.allow(slog.LevelInfo, client) {
			logger.Info("a handshake failed", "code", codes.Unauthenticated.String(), "address", client.String(), "tried", []string{authentication.MethodMutualTLS},
				"message", "the client certificate is not valid, or is not signed by an authority that counts")
		}
	case !errors.Is(err, io.EOF): // that is a probe of the port
		logger.Debug("a handshake failed", "address", client.String(), "error", err)
	}
}
