package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/authmaterial/broker/internal/pemfile"
	"github.com/authmaterial/broker/internal/regularfile"
)

// The sizes in bytes equal the broker's limits, except that a token file may contain additional
// white space.
const (
	maxCertificates = 1 << 20
	maxKey          = 64 << 10
	maxToken        = 8 << 10
	maxTokenFile    = 64 << 10
)

// TLS configures connections to a broker whose configuration has the setting listen.tls. The zero
// value trusts the system's authorities, and sends no client certificate.
type TLS struct {
	// CAFile is the path of a PEM file with the trusted authorities. By default, the system's
	// authorities are trusted.
	CAFile string
	// CertificateFile is the path of a PEM file with the client certificate, followed by any
	// intermediate certificates. KeyFile is the path of a PEM file with the certificate's private
	// key. Set both CertificateFile and KeyFile, or neither.
	CertificateFile, KeyFile string
	// ServerName is a name that the broker's certificate must contain. The default is the host in
	// the broker's address.
	ServerName string
}

// Credentials returns credentials for the gRPC option grpc.WithTransportCredentials. Credentials
// reads the files once to check them. Each new connection reads the files again, so renewed files
// take effect with the next connection. If the broker asks for a client certificate, the configured
// certificate is always sent. A broker that does not trust the certificate refuses the connection.
//
// Each file must be a regular file. A file of certificates may have at most 1 MiB, and the file of
// the key at most 64 KiB. Unknown or invalid content in a file is an error. The error names the
// file and the line, and quotes nothing from the file.
func (t TLS) Credentials() (credentials.TransportCredentials, error) {
	if _, err := t.read(); err != nil {
		return nil, err
	}
	return rereadTLS{credentials.NewTLS(&tls.Config{ServerName: t.ServerName}), t}, nil
}

// read reads the files, and returns the TLS configuration for one connection.
func (t TLS) read() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		text, err := readFile(t.CAFile, maxCertificates)
		if err == nil {
			config.RootCAs, err = pemfile.Pool(t.CAFile, text)
		}
		if err != nil {
			return nil, fmt.Errorf("read the authorities to trust: %w", err)
		}
	}
	if t.CertificateFile != "" || t.KeyFile != "" {
		certificate, err := t.readKeyPair()
		if err != nil {
			return nil, fmt.Errorf("read the client certificate with its key: %w", err)
		}
		// If the certificate were in the field Certificates of tls.Config instead, it would be sent
		// only to a broker that names the certificate's authority.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	}
	return config, nil
}

func (t TLS) readKeyPair() (tls.Certificate, error) {
	if t.CertificateFile == "" || t.KeyFile == "" {
		return tls.Certificate{}, errors.New("set both CertificateFile and KeyFile, or neither: one of them is empty")
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

func readFile(path string, limit int64) ([]byte, error) {
	text, err := regularfile.Read(path, limit)
	if err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return text, nil
}

// rereadTLS reads the files again for each TLS handshake.
type rereadTLS struct {
	credentials.TransportCredentials
	files TLS
}

// ClientHandshake implements credentials.TransportCredentials.
func (r rereadTLS) ClientHandshake(
	ctx context.Context, authority string, raw net.Conn,
) (net.Conn, credentials.AuthInfo, error) {
	config, err := r.files.read()
	if err != nil {
		return nil, nil, err
	}
	return credentials.NewTLS(config).ClientHandshake(ctx, authority, raw)
}

// Clone implements credentials.TransportCredentials.
func (r rereadTLS) Clone() credentials.TransportCredentials {
	return rereadTLS{r.TransportCredentials.Clone(), r.files}
}

// TokenFile returns credentials for the gRPC option grpc.WithPerRPCCredentials. With these
// credentials, each call to the broker sends the token in the file, in the header `authorization`.
// Each call reads the file, so a token that Kubernetes or another program renews takes effect at
// once. White space around the token is removed. If the token cannot be read, the call fails with
// UNAUTHENTICATED. The file must be a regular file of at most 64 KiB, and the token may have at
// most 8 KiB.
//
// The connection must use TLS, or lead to a Unix socket and have the credentials of
// google.golang.org/grpc/credentials/local, so that nobody else can read the token.
func TokenFile(path string) credentials.PerRPCCredentials {
	return token{path, func() (string, error) {
		text, err := readFile(path, maxTokenFile)
		return string(text), err
	}}
}

// Token returns the same kind of credentials as TokenFile, but gets the token from a function. Each
// call to the broker calls the function. The function must be safe for concurrent use, and its
// errors must not contain the token.
func Token(read func() (string, error)) credentials.PerRPCCredentials { return token{"it", read} }

type token struct {
	name string // the token's name in error messages
	read func() (string, error)
}

// tokenCharacters are the characters that a bearer token may contain (RFC 6750).
const tokenCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="

// GetRequestMetadata implements credentials.PerRPCCredentials. The errors of GetRequestMetadata do
// not contain the token.
func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	text, err := t.read()
	text = strings.TrimSpace(text)
	switch {
	case err != nil:
	case text == "":
		err = fmt.Errorf("%s is empty", t.name)
	case len(text) > maxToken:
		err = fmt.Errorf("%s is longer than %d bytes, the limit for a token", t.name, maxToken)
	case strings.Trim(text, tokenCharacters) != "":
		err = fmt.Errorf("%s contains characters that are not allowed in a token", t.name)
	}
	if err != nil {
		return nil, status.Errorf(codes.Unauthenticated, "read the token for the broker: %v", err)
	}
	return map[string]string{"authorization": "Bearer " + text}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (token) RequireTransportSecurity() bool { return true }
