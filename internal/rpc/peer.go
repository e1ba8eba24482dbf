package rpc

import (
	"context"
	"crypto/x509"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/admission"
	"github.com/authmaterial/broker/internal/authentication"
)

// Peer is what is known of a connection since its handshake. It is a credentials.AuthInfo, always
// by its pointer.
type Peer struct {
	credentials.CommonAuthInfo
	// Conn is the connection.
	Conn *admission.Conn
	// Certificates are the client's, leaf first, not verified; none: it sent none.
	Certificates []*x509.Certificate
	// UserID is the user at the other end of a Unix socket; nil: it is none, or unknown.
	UserID *uint32
	// Address is where the connection comes from.
	Address string
	// Local says that only this machine can connect to the listener.
	Local bool

	// caller is who calls without a proof of the call's own; nil: not known yet.
	caller atomic.Pointer[rememberedCaller]
}

// AuthType implements credentials.AuthInfo.
func (*Peer) AuthType() string { return "broker" }

// rememberedCaller is the caller of a connection, as a Generation identified it.
type rememberedCaller struct {
	access.Caller
	generation uint64
	limits     *admission.Caller
	again      Counter // counts each call for which the caller is remembered
}

// EvidenceOf returns what a call and its connection bring to prove who calls.
func EvidenceOf(ctx context.Context) authentication.Evidence {
	return peerOf(ctx).evidence(metadata.ValueFromIncomingContext(ctx, "authorization"))
}

// evidence returns that of a call with these values of the header authorization.
func (p *Peer) evidence(authorization []string) authentication.Evidence {
	return authentication.Evidence{
		Bearer:       authentication.ParseBearer(authorization),
		Certificates: p.Certificates,
		UserID:       p.UserID,
		Address:      p.Address,
	}
}
