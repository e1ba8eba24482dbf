package server

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"

	"google.golang.org/grpc/codes"

	"github.com/authmaterial/broker/internal/authentication"
)

// refusedCertificate tells of a client certificate that ended its handshake, where it was
// that.
func (h handshakes) refusedCertificate(client net.Addr, err error) bool {
	var wrong *tls.CertificateVerificationError
	if !errors.As(err, &wrong) {
		return false
	}
	h.refused()
	if h.limits.lines.allow(slog.LevelInfo, client) {
		h.logger.Info("a handshake failed", "code", codes.Unauthenticated.String(), "address", client.String(), "tried", []string{authentication.MethodMutualTLS},
			"message", "the client certificate is not valid, or is not signed by an authority that counts")
	}
	return true
}
