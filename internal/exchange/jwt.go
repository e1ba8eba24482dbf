package exchange

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// signed prints the JWTs in a request, if the broker signs any.
func (p *Printer) signed(e *Exchange) {
	if !p.SignsJWTs {
		return
	}
	p.PrintJWTs(fmt.Sprintf("%s %v %s", e.Request.URL, e.Request.Header, e.Sent))
}

// PrintJWTs prints the header and the claims of the JWTs in a text, without those that are a secret of
// the credential or a token of the provider.
func (p *Printer) PrintJWTs(text string) {
	for _, found := range jwts.FindAllString(text, -1) {
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
