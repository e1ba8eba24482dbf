package server

import (
	"fmt"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// peerUser is what a connection over a Unix socket proves.
type peerUser struct {
	credentials.CommonAuthInfo
	id *uint32 // nil: the system does not tell
}

// AuthType implements credentials.AuthInfo.
func (*peerUser) AuthType() string { return "peer_user" }

// socketCredentials are those of a server whose connections over Unix sockets prove the user
// at the other end. For other connections it has others.
type socketCredentials struct {
	credentials.TransportCredentials // of the others
}

// withPeerUser returns the credentials of a server. Those of connections over TCP may be nil:
// then these are not encrypted, and prove nothing.
func withPeerUser(overTCP credentials.TransportCredentials) credentials.TransportCredentials {
	if overTCP == nil {
		overTCP = insecure.NewCredentials()
	}
	return socketCredentials{overTCP}
}

// ServerHandshake implements credentials.TransportCredentials. Over a Unix socket it fails
// where the system does not name the user that it could name.
func (c socketCredentials) ServerHandshake(connection net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if connection.LocalAddr().Network() != "unix" {
		return c.TransportCredentials.ServerHandshake(connection)
	}
	id, err := peerUserID(connection)
	if err != nil {
		return nil, nil, fmt.Errorf("find the user at the other end of a socket: %w", err)
	}
	return connection, &peerUser{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, id}, nil
}

// Clone implements credentials.TransportCredentials.
func (c socketCredentials) Clone() credentials.TransportCredentials {
	return socketCredentials{c.TransportCredentials.Clone()}
}
