package clientworld

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// secrets are the texts that a client must not show. They are safe for concurrent use.
type secrets struct {
	mu    sync.Mutex
	hosts map[string][]string // the hosts that may get each secret
}

// minSecret is the length from which on a text is a secret.
const minSecret = 6

// add adds a value and, if it begins with a scheme such as Bearer, what follows the scheme.
func (s *secrets) add(value string, hosts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hosts == nil {
		s.hosts = map[string][]string{}
	}
	for _, text := range []string{value, value[strings.LastIndex(value, " ")+1:]} {
		if len(text) >= minSecret {
			s.hosts[text] = append(s.hosts[text], hosts...)
		}
	}
}

// find returns the secrets in a text.
func (s *secrets) find(text string) (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	once := decode(text)
	for secret := range s.hosts {
		for _, form := range []string{text, once, decode(once), strings.ReplaceAll(once, "+", " ")} {
			if strings.Contains(form, secret) {
				found = append(found, secret)
				break
			}
		}
	}
	return found
}

// leaked describes a secret in a request to a host that must not get the secret, or is "".
func (s *secrets) leaked(r request) string {
	texts := []string{r.target, r.body}
	for _, values := range r.headers {
		texts = append(texts, values...)
	}
	for _, text := range texts {
		for _, secret := range s.find(text) {
			s.mu.Lock()
			allowed := slices.Contains(s.hosts[secret], r.host)
			s.mu.Unlock()
			if !allowed || r.scheme != "https" && !isLoopback(r.host) {
				return fmt.Sprintf("%q in a request to %s://%s", secret, r.scheme, r.host)
			}
		}
	}
	return ""
}

func isLoopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		return false
	}
	address, err := netip.ParseAddr(name)
	return err == nil && address.IsLoopback()
}

// decode decodes each %XX in a text once.
func decode(text string) string {
	var made strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if value, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				made.WriteByte(byte(value))
				i += 2
				continue
			}
		}
		made.WriteByte(text[i])
	}
	return made.String()
}
