package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc/credentials"

	"github.com/authmaterial/broker/internal/pemfile"
	"github.com/authmaterial/broker/internal/regularfile"
)

// The largest files that are read, in bytes. They are the broker's own limits.
const (
	maxCertificates = 1 << 20
	maxKey          = 64 << 10
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
// Each file must be a regular file, at most 1 MiB of certificates or 64 KiB with the key, and
// whatever in it is not understood is an error. The error names the file and the line, and
// contains nothing of the file.
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
		text, err := readFile(t.CAFile, maxCertificates)
		if err == nil {
			made.RootCAs, err = pemfile.Pool(t.CAFile, text)
		}
		if err != nil {
			return nil, fmt.Errorf("the authorities to trust: %w", err)
		}
	}
	if t.CertificateFile != "" || t.KeyFile != "" {
		certificate, err := t.readKeyPair()
		if err != nil {
			return nil, fmt.Errorf("the client certificate with its key: %w", err)
		}
		// With Certificates, one that the broker does not ask for would stay away in silence.
		made.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	}
	return made, nil
}

func (t TLS) readKeyPair() (tls.Certificate, error) {
	if t.CertificateFile == "" || t.KeyFile == "" {
		return tls.Certificate{}, errors.New("CertificateFile and KeyFile need each other: one of them is empty")
	}
	text, err := readFile(t.CertificateFile, maxCertificates)
	if err != nil {
		return tls.Certificate{}, err
	}
	certificates, err := pemfile.Certificates(t.CertificateFile, text)
	if err != nil {
		return tls.Certificate{}, err
	}
	if text, err = readFile(t.KeyFile, maxKey); err != nil {
		return tls.Certificate{}, err
	}
	return pemfile.KeyPair(certificates, t.KeyFile, text)
}

// readFile returns the content of a regular file of up to limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	text, err := regularfile.Read(path, limit)
	if err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return text, nil
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
