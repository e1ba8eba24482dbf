package server

import (
	"errors"
	"io"
	"log/slog"
	"net"

	"google.golang.org/grpc/credentials"
)

// handshakes are the credentials of the gRPC server, with an eye on what becomes of its
// connections.
type handshakes struct {
	credentials.TransportCredentials

	logger  *slog.Logger
	limits  *limits
	refused func() // called for each client certificate that does not count
}

// newHandshakes returns credentials with TLS for TCP unless it is nil.
func newHandshakes(t *listenerTLS, logger *slog.Logger, l *limits, refused func()) handshakes {
	var overTCP credentials.TransportCredentials
	if t != nil {
		overTCP = credentials.NewTLS(t.config(protocolGRPC))
	}
	return handshakes{withPeerUser(overTCP), logger, l, refused}
}

// ServerHandshake implements credentials.TransportCredentials.
func (h handshakes) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := h.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		if !h.refusedCertificate(raw.RemoteAddr(), err) && !errors.Is(err, io.EOF) { // that is a probe of the port
			h.logger.Debug("a handshake failed", "address", raw.RemoteAddr().String(), "error", err)
		}
		return nil, nil, err
	}
	by := heldBy(raw)
	return newFrameConn(conn, by, h.limits), heldInfo{info, by}, nil
}
