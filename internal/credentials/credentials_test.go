package credentials_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/authmaterial/broker/internal/credentials"
)

// FuzzValidID checks that ValidID accepts the same IDs as IDPattern.
func FuzzValidID(f *testing.F) {
	for _, id := range []string{
		"", "a", "-", "a-", "-a", "a.b_c-d9", "A", "é", "a\n", "a b", "\x00", "a/b",
		strings.Repeat("a", 128), strings.Repeat("a", 129), strings.Repeat("a", 127) + "-",
	} {
		f.Add(id)
	}
	pattern := regexp.MustCompile(credentials.IDPattern)
	f.Fuzz(func(t *testing.T, id string) {
		if got, want := credentials.ValidID(id), pattern.MatchString(id); got != want {
			t.Errorf("%q is valid: %v, want %v", id, got, want)
		}
	})
}
