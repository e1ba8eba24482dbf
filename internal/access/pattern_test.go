package access_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/access"
)

func TestPattern(t *testing.T) {
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"a", "a", true},
		{"a", "", false},
		{"a", "aa", false},
		{"a", "A", false},
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "spiffe://a/b c\n", true},
		{"**", "", true},
		{"a*", "a", true},
		{"a*", "ba", false},
		{"*a", "ba", true},
		{"*a", "ab", false},
		{"a*a", "a", false}, // both letters of the pattern cannot match one letter of the text
		{"a*a", "aa", true},
		{"a*b*a", "aba", true},
		{"a*b*a", "aa", false},
		{"ab*ba", "aba", false},
		{"*ab*ab*", "ab", false},
		{"*ab*ab*", "xabyabz", true},
		{"a*bc*c", "abcbc", true},
		{"spiffe://prod/*", "spiffe://production/web", false},
		{"spiffe://*/web", "spiffe://prod/ns/web", true},
		{"a.b", "axb", false}, // only `*` is special
		{"a?", "ab", false},
		{"[a]", "a", false},
		{`a\*`, `a*`, false},
	} {
		if got := access.Pattern(test.pattern).Matches(test.text); got != test.want {
			t.Errorf("the pattern %q matches the text %q: %v, want %v", test.pattern, test.text, got, test.want)
		}
	}
}

// FuzzPattern compares patterns with equivalent regular expressions.
func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{{"a*b*c", "abxbc"}, {"*ab*ab*", "abab"}, {"a*a", "a"}, {"**", "\n"}, {"é*", "éa"}, {"\xff*", "\xff\xfe"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		// Regular expressions treat all bytes that are not valid UTF-8 alike, so such bytes are
		// replaced.
		pattern, text = strings.ToValidUTF8(pattern, "?"), strings.ToValidUTF8(text, "!")
		parts := strings.Split(pattern, "*")
		for i, part := range parts {
			parts[i] = regexp.QuoteMeta(part)
		}
		oracle := regexp.MustCompile(`(?s)\A` + strings.Join(parts, ".*") + `\z`)
		if got, want := access.Pattern(pattern).Matches(text), oracle.MatchString(text); got != want {
			t.Errorf("the pattern %q matches the text %q: %v, want %v", pattern, text, got, want)
		}
		if access.Pattern(pattern).Exact() && access.Pattern(pattern).Matches(text) != (pattern == text) {
			t.Errorf("the pattern %q is exact, but it matches a different text", pattern)
		}
	})
}

// TestPatternOfSmallTexts tests all short patterns and texts of two letters.
func TestPatternOfSmallTexts(t *testing.T) {
	patterns, texts := words("ab*", 5), words("ab", 6)
	for _, pattern := range patterns {
		oracle := regexp.MustCompile(`\A` + strings.ReplaceAll(pattern, "*", ".*") + `\z`)
		for _, text := range texts {
			if got, want := access.Pattern(pattern).Matches(text), oracle.MatchString(text); got != want {
				t.Fatalf("the pattern %q matches the text %q: %v, want %v", pattern, text, got, want)
			}
		}
	}
}

// words returns every text that consists of the given letters and has at most the given length.
func words(letters string, length int) []string {
	all, last := []string{""}, []string{""}
	for range length {
		var next []string
		for _, word := range last {
			for _, letter := range letters {
				next = append(next, word+string(letter))
			}
		}
		all, last = append(all, next...), next
	}
	return all
}
