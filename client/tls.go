package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc/credentials"
)

// TLS says how to reach a broker that has listen.tls. The zero value trusts the
// authorities of the system, and shows no certificate.
type TLS struct {
	// CAFile has the authorities to trust in place of the system's, in PEM.
	CAFile string
	// CertificateFile has the service's own certificate, with those between it and its
	// authority, and KeyFile its private key. Both are in PEM. Set both or neither.
	CertificateFile, KeyFile string
	// ServerName is a name that the broker's certificate must have. Default: the host of
	// the address.
	ServerName string
}

// Credentials are for grpc.WithTransportCredentials. The files are read here, and again for
// each connection: files that were renewed count from the next connection on. A broker that
// asks for a certificate is shown the one that there is, and refuses the connection unless it
// trusts that.
//
// An error names the file, and holds nothing of what is in it.
func (t TLS) Credentials() (credentials.TransportCredentials, error) {
	if _, err := t.read(); err != nil {
		return nil, err
	}
	return rereadTLS{credentials.NewTLS(&tls.Config{ServerName: t.ServerName}), t}, nil
}

// read makes the settings of one connection.
func (t TLS) read() (*tls.Config, error) {
	made := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		text, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("the authorities to trust: %w", err)
		}
		made.RootCAs = x509.NewCertPool()
		if !made.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("the authorities to trust: %s holds no certificate in PEM", t.CAFile)
		}
	}
	if t.CertificateFile != "" || t.KeyFile != "" {
		certificate, err := tls.LoadX509KeyPair(t.CertificateFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("the client certificate %q with the key %q: %w", t.CertificateFile, t.KeyFile, err)
		}
		// With Certificates, one that the broker does not ask for would stay away in silence.
		made.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	}
	return made, nil
}

// rereadTLS reads its files for each handshake.
type rereadTLS struct {
	credentials.TransportCredentials
	files TLS
}

// ClientHandshake implements credentials.TransportCredentials.
func (r rereadTLS) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	read, err := r.files.read()
	if err != nil {
		return nil, nil, err
	}
	return credentials.NewTLS(read).ClientHandshake(ctx, authority, raw)
}

// Clone implements credentials.TransportCredentials.
func (r rereadTLS) Clone() credentials.TransportCredentials {
	return rereadTLS{r.TransportCredentials.Clone(), r.files}
}
