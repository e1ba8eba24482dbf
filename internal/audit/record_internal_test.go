package audit

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
)

// FuzzAppendString checks that the JSON string of any text is decoded as that text, and has only
// printable characters.
func FuzzAppendString(f *testing.F) {
	for _, text := range []string{"", "a", `"\`, "a\nb", "\x00\x7f", "\u2028\u009b", "é☃𝄞", "a\xff", "</script>", "\U000e0001"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		encoded := appendString(nil, text, noLimit)
		var got string
		if err := json.Unmarshal(encoded, &got); err != nil || got != strings.ToValidUTF8(text, "\ufffd") && strings.ToValidUTF8(got, "") != got {
			t.Errorf("%q is encoded as %s, which is decoded as %q: %v", text, encoded, got, err)
		}
		if want, _ := json.Marshal(text); !strings.Contains(text, "\xff") && json.Unmarshal(want, &text) == nil && got != text {
			t.Errorf("%q is decoded as %q", text, got)
		}
		if strings.ContainsFunc(string(encoded), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q contains characters that are not printable", encoded)
		}
	})
}
