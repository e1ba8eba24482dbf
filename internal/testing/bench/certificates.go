package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/authmaterial/broker/internal/testing/authtest"
)

// tlsConfig returns the TLS settings of a server or client with the named certificate. The settings
// require TLS 1.3 without session resumption, as the broker's settings do.
func tlsConfig(folder, name string) (*tls.Config, error) {
	path := filepath.Join(folder, name)
	own, err := tls.LoadX509KeyPair(path+".pem", path+".key")
	if err != nil {
		return nil, fmt.Errorf("read the benchmark's certificate: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(folder, authoritiesFile)) //nolint:gosec // this program has written the file
	if err != nil {
		return nil, err
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(text) {
		return nil, errors.New("the file of the certificate authorities contains no certificate")
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{own},
		RootCAs:                authorities,
		ClientCAs:              authorities,
		ClientAuth:             tls.VerifyClientCertIfGiven,
		SessionTicketsDisabled: true,
	}, nil
}

// serverCredentials returns a server's TLS settings, with the certificate in the folder. If
// `folder` is empty, connections are not encrypted.
func serverCredentials(folder string) (credentials.TransportCredentials, error) {
	return credentialsOf(folder, serverFile)
}

// clientCredentials returns a client's TLS settings, with the client certificate of the given
// number. If `folder` is empty, connections are not encrypted.
func clientCredentials(folder string, number int) (credentials.TransportCredentials, error) {
	return credentialsOf(folder, clientName(number))
}

func clientName(number int) string { return fmt.Sprintf("%s%d", clientFile, number) }

// writeCertificates creates a folder with the certificates of a server, of the load generator, and
// of a caller without a grant. `remove` deletes the folder.
func writeCertificates(identities int) (folder string, remove func() error, err error) {
	folder, err = os.MkdirTemp("", "bench")
	if err != nil {
		return "", nil, err
	}
	remove = func() error { return os.RemoveAll(folder) }
	authority := authtest.NewAuthority("bench", time.Now())
	all := map[string]tls.Certificate{serverFile: authority.IssueLoopback(), strangerFile: authority.IssueSPIFFE("spiffe://bench.test/stranger")}
	for i := range identities {
		all[clientName(i)] = authority.IssueSPIFFE(fmt.Sprintf("%s%d", loadCaller, i))
	}
	err = os.WriteFile(filepath.Join(folder, authoritiesFile), authority.PEM(), 0o600)
	for name, certificate := range all {
		path := filepath.Join(folder, name)
		err = errors.Join(err, os.WriteFile(path+".pem", authtest.CertificatePEM(certificate), 0o600),
			os.WriteFile(path+".key", authtest.KeyPEM(certificate), 0o600))
	}
	if err != nil {
		return "", nil, errors.Join(err, remove())
	}
	return folder, remove, nil
}

func credentialsOf(folder, name string) (credentials.TransportCredentials, error) {
	if folder == "" {
		return insecure.NewCredentials(), nil
	}
	settings, err := tlsConfig(folder, name)
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(settings), nil
}

// metricsTransport returns a transport for reading metrics with the client certificate in a folder,
// or nil without a folder.
func metricsTransport(folder string) (http.RoundTripper, error) {
	if folder == "" {
		return nil, nil //nolint:nilnil // http.Client uses its default transport if the transport is nil
	}
	settings, err := tlsConfig(folder, clientName(0))
	if err != nil {
		return nil, err
	}
	return &http.Transport{TLSClientConfig: settings}, nil
}
