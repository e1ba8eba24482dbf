package access

import "strings"

// Pattern is a text in which each `*` stands for any characters, none included. It has no
// other signs.
type Pattern string

// Matches reports whether the pattern is that of the whole text.
func (p Pattern) Matches(text string) bool {
	first, rest, wild := strings.Cut(string(p), "*")
	if !wild {
		return text == first
	}
	text, found := strings.CutPrefix(text, first)
	if !found {
		return false
	}
	for {
		part, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(text, part)
		}
		// The earliest place leaves the most for what follows.
		if _, text, found = strings.Cut(text, part); !found {
			return false
		}
		rest = after
	}
}

// Exact reports whether the pattern matches one text alone: itself.
func (p Pattern) Exact() bool { return !strings.Contains(string(p), "*") }
