// Package pemfile reads certificates and private keys from PEM files strictly: whatever is
// not understood is an error with its line. crypto/x509 and crypto/tls leave out what they
// do not understand, so that one damaged line makes a bundle of authorities shorter.
package pemfile

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

const certificateType = "CERTIFICATE"

// keyTypes are the blocks with a private key that is not encrypted.
var keyTypes = map[string]bool{"PRIVATE KEY": true, "RSA PRIVATE KEY": true, "EC PRIVATE KEY": true}

// Certificates returns the certificates in data, at least one. The error begins with the
// name of the file and the line, and contains nothing else of the file.
func Certificates(name string, data []byte) ([]*x509.Certificate, error) {
	found, err := blocks(name, data)
	if err != nil {
		return nil, err
	}
	var certificates []*x509.Certificate
	for _, block := range found {
		switch {
		case block.kind != certificateType:
			return nil, block.errorf("expected a CERTIFICATE, found %s: only certificates belong in this file", describe(block.kind))
		case block.hasHeaders:
			return nil, block.errorf("the certificate has header lines after BEGIN: export it again without them")
		}
		certificate, err := x509.ParseCertificate(block.bytes)
		if err != nil {
			return nil, block.errorf("the block decodes, but is not a valid X.509 certificate: copy the certificate again")
		}
		certificates = append(certificates, certificate)
	}
	if len(certificates) == 0 {
		return nil, fmt.Errorf("%s: the file has no certificate in PEM: a line -----BEGIN CERTIFICATE----- is expected", name)
	}
	return certificates, nil
}

// Pool returns the certificates in data as a set of authorities. Its errors are those of
// Certificates.
func Pool(name string, data []byte) (*x509.CertPool, error) {
	certificates, err := Certificates(name, data)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, certificate := range certificates {
		pool.AddCert(certificate)
	}
	return pool, nil
}

// KeyPair returns certificates with the private key in keyData, which belongs to the first
// of them. The errors are as those of Certificates.
func KeyPair(certificates []*x509.Certificate, keyName string, keyData []byte) (tls.Certificate, error) {
	key, err := privateKey(keyName, keyData)
	if err != nil {
		return tls.Certificate{}, err
	}
	var chain []byte
	for _, certificate := range certificates {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: certificateType, Bytes: certificate.Raw})...)
	}
	pair, err := tls.X509KeyPair(chain, pem.EncodeToMemory(&pem.Block{Type: key.kind, Bytes: key.bytes}))
	if err != nil {
		return tls.Certificate{}, key.errorf("the private key is damaged, of an unsupported kind, or does not belong to the first certificate of the certificate file")
	}
	return pair, nil
}

// privateKey returns the only private key in data. Parameters of an elliptic curve, which
// OpenSSL writes in front of a key, are allowed: the key repeats them.
func privateKey(name string, data []byte) (key block, err error) {
	found, err := blocks(name, data)
	if err != nil {
		return block{}, err
	}
	for _, next := range found {
		switch {
		case next.kind == "EC PARAMETERS":
		case next.kind == "ENCRYPTED PRIVATE KEY", keyTypes[next.kind] && next.hasHeaders:
			return block{}, next.errorf("the private key is encrypted with a password: decrypt it with 'openssl pkey'")
		case !keyTypes[next.kind]:
			return block{}, next.errorf("expected a PRIVATE KEY, found %s: only the private key belongs in this file", describe(next.kind))
		case key.kind != "":
			return block{}, next.errorf("a second private key: leave one in this file, that of the certificate")
		default:
			key = next
		}
	}
	if key.kind == "" {
		return block{}, fmt.Errorf("%s: the file has no private key in PEM: a line -----BEGIN PRIVATE KEY----- is expected", name)
	}
	return key, nil
}

// describe returns the kind of a block if it is a well-known one. Any other may be part of
// what somebody wants to keep secret.
func describe(kind string) string {
	switch kind {
	case certificateType, "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "TRUSTED CERTIFICATE",
		"CERTIFICATE REQUEST", "X509 CRL", "PUBLIC KEY", "PKCS7", "EC PARAMETERS", "DH PARAMETERS", "OPENSSH PRIVATE KEY":
		return kind
	}
	return "a block of another type"
}
