package simulator

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

func randomBytes(n int) []byte {
	random := make([]byte, n)
	_, _ = rand.Read(random) // never fails
	return random
}

func randomHex(n int) string { return hex.EncodeToString(randomBytes(n)) }

func randomUUID() string {
	random := randomBytes(16)
	random[6] = random[6]&0x0f | 0x40
	random[8] = random[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", random[:4], random[4:6], random[6:8], random[8:10], random[10:])
}

// signatureBytes is the size of an RS256 signature made with a key of 4096 bits.
const signatureBytes = 512

// randomToken returns a random token of about 1 KB in the form of a JWT that is signed with RS256.
// The signature of the token is random, so no key verifies it.
func randomToken(clientID string, issued time.Time, lifetime time.Duration) string {
	header, _ := json.Marshal(fields{"typ": "JWT", "alg": "RS256"})
	claims, _ := json.Marshal(fields{
		"aud": clientID, "jti": randomHex(40), "sub": "", "scopes": []string{},
		"iat": issued.Unix(), "nbf": issued.Unix(), "exp": issued.Add(lifetime).Unix(),
	})
	encode := base64.RawURLEncoding.EncodeToString
	return encode(header) + "." + encode(claims) + "." + encode(randomBytes(signatureBytes))
}
