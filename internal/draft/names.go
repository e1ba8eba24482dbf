package draft

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/publicsuffix"

	"github.com/authmaterial/broker/internal/catalog"
	"github.com/authmaterial/broker/internal/expression"
)

// words splits the name of a header or parameter into lower-case words: "xApi-Key" has the words
// x, api and key.
func words(name string) []string {
	var spaced strings.Builder
	before := ' '
	for _, r := range name {
		if unicode.IsUpper(r) && unicode.IsLower(before) {
			spaced.WriteByte(' ')
		}
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			r = ' '
		}
		spaced.WriteRune(unicode.ToLower(r))
		before = r
	}
	return strings.Fields(spaced.String())
}

var (
	secretWord = regexp.MustCompile(`^(key|keys|auth|authorization|credentials?|pass|passwd|pwd|passphrase|passcode|pin|appid|jwt|bearer)$` +
		`|(api|app|access|auth|server|secret|private)keys?$|(token|secret|password)s?$`)
	identifierWord = regexp.MustCompile(`^(id|email|user|username|login|account|organi[sz]ation|org|tenant|workspace|application)$`)
	// otherKeys are words beside which "key", "token" and "id" mean something else.
	otherKeys  = regexp.MustCompile(`^(page|next|prev|previous|cursor|continuation|sync|sort|order|idempotency|partition|cache|csrf|xsrf|foreign|issue|request|correlation|trace|session)(token|key)?$`)
	signatures = regexp.MustCompile(`^(sig|sign|signature|hmac|digest|amz)$`)
)

func hasWord(name string, pattern *regexp.Regexp) bool {
	return slices.ContainsFunc(words(name), pattern.MatchString)
}

// namesSecret reports whether a header or parameter with this name is probably a secret.
func namesSecret(name string) bool { return hasWord(name, secretWord) && !hasWord(name, otherKeys) }

// namesIdentifier reports whether a header with this name probably identifies an account beside a
// secret, as client-id does.
func namesIdentifier(name string) bool {
	all := words(name)
	return len(all) > 1 && identifierWord.MatchString(all[len(all)-1]) && !hasWord(name, otherKeys)
}

// namesVersion reports whether a header with this name selects a version of the API.
func namesVersion(name string) bool {
	return slices.ContainsFunc(words(name), func(word string) bool { return word == "version" || word == "revision" })
}

const maxID = 40 // characters

// fieldID makes the ID of a field from a name.
func fieldID(name, otherwise string) string {
	var parts []string
	for _, word := range words(strings.ToValidUTF8(name, "")) {
		ascii := strings.Map(func(r rune) rune {
			if r > unicode.MaxASCII {
				return -1
			}
			return r
		}, word)
		if ascii != "" && (parts != nil || ascii != "x") {
			parts = append(parts, ascii)
		}
	}
	id := strings.Join(parts, "_")
	id = strings.TrimRight(id[:min(len(id), maxID)], "_")
	switch {
	case id == "" || id[0] >= '0' && id[0] <= '9':
		return otherwise
	case id == "key" || id == "apikey":
		return "api_key"
	case id == catalog.TokenVariable:
		return "api_token"
	case !usable(id):
		return id + "_value"
	}
	return id
}

// usable reports whether a text can be the ID of a field in every auth method.
func usable(id string) bool {
	return field.MatchString(id) && expression.ValidName(id) && !slices.Contains([]string{catalog.TokenVariable, catalog.JWTVariable, "response"}, id)
}

// displayName makes the name of a field for people from its ID.
func displayName(id string) string {
	parts := strings.Split(id, "_")
	for i, part := range parts {
		switch {
		case slices.Contains([]string{"api", "id", "url", "jwt", "sid"}, part):
			parts[i] = strings.ToUpper(part)
		case i == 0 && part != "":
			parts[i] = strings.ToUpper(part[:1]) + part[1:]
		}
	}
	return strings.Join(parts, " ")
}

var (
	providerID = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	field      = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
)

// Name proposes the ID and the name of the provider that has a host.
func Name(host string) (id, displayName string) {
	host = strings.ToLower(host)
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") {
		return "provider", "Provider"
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(host)
	suffix, managed := publicsuffix.PublicSuffix(host)
	switch {
	case !managed && strings.Contains(suffix, "."): // a company registered a suffix such as googleapis.com
		domain = suffix
	case err != nil:
		domain = host
	}
	label, _, _ := strings.Cut(domain, ".")
	if !providerID.MatchString(label) {
		return "provider", "Provider"
	}
	return label, strings.ToUpper(label[:1]) + label[1:]
}
