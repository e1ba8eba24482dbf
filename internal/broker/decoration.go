package broker

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"io"
	"time"

	"github.com/authmaterial/broker/internal/strategies"
)

// Decoration is the material for one request. It is not changed once made.
type Decoration struct {
	CredentialID string
	// Version changes whenever the material does, and does not give it away.
	Version  string
	Material strategies.Material
	// ExpireTime is from when on the material must not be used; zero: never.
	ExpireTime time.Time
	// RefreshTime is when a caller that keeps a copy should ask again.
	RefreshTime time.Time
	// AllowedHosts are the hosts to which alone the material may be sent.
	AllowedHosts []string
	// RejectedStatuses are the HTTP statuses that mean that it is rejected.
	RejectedStatuses []int
}

// versionSize is how much of the HMAC a version shows, in bytes.
const versionSize = 16

// version is an HMAC over the credential ID and the material.
func version(key []byte, credentialID string, material strategies.Material) string {
	sum := hmac.New(sha256.New, key)
	write(sum, credentialID)
	for _, pairs := range [][]strategies.Pair{material.Headers, material.QueryParams} {
		_ = binary.Write(sum, binary.BigEndian, uint64(len(pairs)))
		for _, pair := range pairs {
			write(sum, pair.Name)
			write(sum, pair.Value.Reveal())
		}
	}
	return base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:versionSize])
}

// write writes text behind its length, so that no two materials are alike.
func write(sum hash.Hash, text string) {
	_ = binary.Write(sum, binary.BigEndian, uint64(len(text)))
	_, _ = io.WriteString(sum, text)
}
