package access

import "strings"

// Pattern is a text in which each `*` matches any sequence of characters, even an empty one. Every
// other character matches only itself.
type Pattern string

// Matches reports whether the pattern matches the whole text.
func (p Pattern) Matches(text string) bool {
	first, rest, wild := strings.Cut(string(p), "*")
	if !wild {
		return text == first
	}
	text, found := strings.CutPrefix(text, first)
	for found {
		part, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(text, part)
		}
		// The earliest match is the best, because it leaves the most text for the rest of the
		// pattern.
		_, text, found = strings.Cut(text, part)
		rest = after
	}
	return false
}

// Exact reports whether the pattern contains no `*` and therefore matches only one text.
func (p Pattern) Exact() bool { return !strings.Contains(string(p), "*") }
