package config

import (
	"regexp"
	"strings"
)

// placeholder matches the texts that examples and templates have in place of a secret.
var placeholder = regexp.MustCompile(`(?is)` + strings.Join([]string{
	`\$\{[a-z_][^{}]*\}`, `\$\([a-z_][^()]*\)`, `\{\{.*\}\}`, // templates
	`^\$[a-z_][a-z_0-9]+$`, `^%[a-z_][a-z_0-9]+%$`, // a variable of a shell
	`^<.*>$`,
	`^replace[-_ ]?(with|me|this)`,
	`^((insert|enter|paste|put|add)[-_ ]?)?your[-_ ]?.*(key|id|secret|token|password|name|email|here)$`,
	`^(change[-_ ]?(me|it|this)|todo|fixme|tbd|placeholder|null|undefined)$`,
	`^[x*.-]{3,}$`, `x{6}`,
}, "|"))

// invisible are characters that are copied with a value from a document unnoticed.
const invisible = "\ufeff\u200b\u200c\u200d\u2060\u00a0"

// doubt completes a sentence about a value that is probably not the one that was meant, and
// is empty otherwise. It does not quote the value.
func doubt(value string) string {
	switch {
	case placeholder.MatchString(value):
		return "looks like a placeholder or a template that was not filled in"
	case strings.ContainsAny(value, "\r\n"):
		return "has a line break"
	case strings.TrimSpace(value) != value:
		return "has a space at its beginning or end"
	case len(value) > 1 && strings.ContainsRune("\"'`", rune(value[0])) && value[0] == value[len(value)-1]:
		return "has quotes around it, which are sent as part of it"
	case strings.ContainsAny(value, invisible):
		return "has an invisible character, such as a byte order mark or a no-break space"
	}
	return ""
}
