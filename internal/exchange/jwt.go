package exchange

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// signed prints the header and the claims of the JWTs in a request, without those that are a secret of
// the credential or a token.
func (p *Printer) signed(e *Exchange) {
	if !p.SignsJWTs {
		return
	}
	sent := fmt.Sprintf("%s %v %s", e.Request.URL, e.Request.Header, e.Sent)
	for _, found := range jwts.FindAllString(sent, -1) {
		if _, known := p.Mask.names[found]; known {
			continue
		}
		parts := strings.Split(found, ".")
		for i, name := range []string{"header", "claims"} {
			if text, err := base64.RawURLEncoding.DecodeString(parts[i]); err == nil {
				p.linef("JWT %s: %s", name, p.Mask.Text(string(text)))
			}
		}
	}
}
