// Package pemfile reads certificates and private keys from PEM files strictly: a text that it does
// not recognize as valid causes an error with a line number. The packages crypto/x509 and
// crypto/tls skip damaged blocks instead, so a single damaged line can remove an authority from a
// bundle.
package pemfile

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"slices"
)

// An error may name only these kinds of blocks, because any other name may be part of a secret.
var (
	keyKinds   = []string{"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"}
	otherKinds = []string{
		"CERTIFICATE", "TRUSTED CERTIFICATE", "CERTIFICATE REQUEST", "X509 CRL", "PKCS7", "PUBLIC KEY",
		"ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PARAMETERS", "DH PARAMETERS",
	}
)

// Certificates returns the certificates in the content of a file, at least one. An error begins
// with the name of the file and a line number, and quotes nothing else of the file. The name is empty
// for a text that is no file.
func Certificates(name string, data []byte) ([]*x509.Certificate, error) {
	found, err := blocks(name, data)
	if err != nil {
		return nil, err
	}
	var certificates []*x509.Certificate
	for _, block := range found {
		switch {
		case block.kind != "CERTIFICATE":
			return nil, block.unexpected("expected a CERTIFICATE, found %s: only certificates belong in this file")
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
		return nil, missing(name, "certificate", "CERTIFICATE")
	}
	return certificates, nil
}

// Pool returns the certificates in the content of a file as a pool of authorities, with the errors
// of Certificates.
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

// KeyPair returns certificates together with their private key, which it reads from keyData, the
// content of the file keyName. The key must belong to the first certificate. Errors have the same
// form as those of Certificates.
func KeyPair(certificates []*x509.Certificate, keyName string, keyData []byte) (tls.Certificate, error) {
	key, err := privateKey(keyName, keyData)
	if err != nil {
		return tls.Certificate{}, err
	}
	var chain []byte
	for _, certificate := range certificates {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})...)
	}
	pair, err := tls.X509KeyPair(chain, pem.EncodeToMemory(&pem.Block{Type: key.kind, Bytes: key.bytes}))
	if err != nil {
		return tls.Certificate{}, key.errorf("the private key is damaged, of an unsupported kind, or does not belong to the first certificate of the certificate file")
	}
	return pair, nil
}

// privateKey returns the only private key in the content of a file. privateKey ignores the
// elliptic-curve parameters that OpenSSL writes in front of a key, because the key also contains
// them.
func privateKey(name string, data []byte) (key *block, err error) {
	found, err := blocks(name, data)
	if err != nil {
		return nil, err
	}
	for _, next := range found {
		isKey := slices.Contains(keyKinds, next.kind)
		switch {
		case next.kind == "EC PARAMETERS":
		case next.kind == "ENCRYPTED PRIVATE KEY", isKey && next.hasHeaders:
			return nil, next.errorf("the private key is encrypted with a password: decrypt it with 'openssl pkey -in OLD -out NEW'")
		case next.kind == "OPENSSH PRIVATE KEY":
			return nil, next.errorf("the private key is in OpenSSH's own format: convert a copy of the file with 'ssh-keygen -p -m PKCS8 -f COPY'")
		case !isKey:
			return nil, next.unexpected("expected a PRIVATE KEY, found %s: only the private key belongs here")
		case key != nil:
			return nil, next.errorf("a second private key: leave only the key that belongs here")
		default:
			key = next
		}
	}
	if key == nil {
		return nil, missing(name, "private key", "PRIVATE KEY")
	}
	return key, nil
}

// `unexpected` returns an error for a block of the wrong kind. The kind replaces %s in the format.
func (b *block) unexpected(format string) error {
	if slices.Contains(keyKinds, b.kind) || slices.Contains(otherKinds, b.kind) {
		return b.errorf(format, b.kind)
	}
	return b.errorf(format, "a block of another type")
}

// PrivateKey returns the only private key in a text, whose form is PKCS #1, PKCS #8 or SEC 1. Errors
// have the same form as those of Certificates.
func PrivateKey(name string, data []byte) (crypto.Signer, error) {
	block, err := privateKey(name, data)
	if err != nil {
		return nil, err
	}
	var key any
	switch block.kind {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.bytes)
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, block.errorf("the private key is damaged or of an unsupported kind")
	}
	return signer, nil
}

// PublicKey returns the public key in a text, or the public key that belongs to the only private key
// in the text. Errors have the same form as those of Certificates.
func PublicKey(name string, data []byte) (crypto.PublicKey, error) {
	found, err := blocks(name, data)
	if err != nil {
		return nil, err
	}
	if len(found) != 1 || found[0].kind != "PUBLIC KEY" {
		key, err := PrivateKey(name, data)
		if err != nil {
			return nil, err
		}
		return key.Public(), nil
	}
	key, err := x509.ParsePKIXPublicKey(found[0].bytes)
	if err != nil {
		return nil, found[0].errorf("the public key is damaged or of an unsupported kind")
	}
	return key, nil
}
