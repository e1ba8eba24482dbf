package simulator

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"time"

	"github.com/authmaterial/broker/internal/catalog"
)

const rsaBits = 2048

// keyMaterial makes the key of an account when a field needs it, and a certificate for the key.
type keyMaterial struct {
	key         string // in PEM
	certificate string // in PEM
}

// newKeyMaterial makes a key that the JWTs of the auth method can be signed with, or a key of the curve
// P-256.
func newKeyMaterial(method *catalog.AuthMethod) (*keyMaterial, error) {
	algorithm := ""
	for _, definition := range []*catalog.JWT{method.JWT, jwtOfRequest(method)} {
		if definition != nil {
			algorithm = definition.Algorithm
		}
	}
	key, err := newKey(algorithm)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	template := certificateTemplate("Simulated account", time.Now())
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &keyMaterial{key: encodePEM("PRIVATE KEY", der), certificate: encodePEM("CERTIFICATE", certificate)}, nil
}

func newKey(algorithm string) (crypto.Signer, error) {
	switch algorithm {
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		return rsa.GenerateKey(rand.Reader, rsaBits)
	case "ES384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	default:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func (k *keyMaterial) text(kind roleKind) string {
	switch kind {
	case certificateRole:
		return k.certificate
	case keyRole:
		return k.key
	default:
		return randomHex(16)
	}
}
