package leaktest

import (
	"bytes"
	"html"
	"strconv"
	"unicode/utf8"
)

type view struct {
	name string
	text []byte
}

// decoders decode the encoded parts of a text. The decoders leave malformed parts unchanged,
// because a text may contain parts that are not encoded.
var decoders = []struct {
	name   string
	decode func([]byte) []byte
}{
	{"unescaped", unescape}, // JSON and Go
	{"percent-decoded", percentDecode},
	{"form-decoded", func(text []byte) []byte { return percentDecode(bytes.ReplaceAll(text, []byte("+"), []byte(" "))) }},
	{"HTML-decoded", func(text []byte) []byte { return []byte(html.UnescapeString(string(text))) }},
}

// depth is how many encodings are decoded, one after another. For example, the URL in a quoted
// error message in a JSON log is encoded three times.
const depth = 3

// `views` returns the text itself, and all different texts that result from applying up to `depth`
// decoders one after another.
func views(text []byte) []view {
	all := []view{{"", text}}
	seen := map[string]bool{string(text): true}
	for layer, from := 0, 0; layer < depth; layer++ {
		last := all[from:]
		from = len(all)
		for _, before := range last {
			for _, decoder := range decoders {
				decoded := decoder.decode(before.text)
				if seen[string(decoded)] {
					continue
				}
				seen[string(decoded)] = true
				all = append(all, view{name(before.name, decoder.name), decoded})
			}
		}
	}
	return all
}

func name(before, next string) string {
	if before == "" {
		return next
	}
	return before + ", then " + next
}

func percentDecode(text []byte) []byte {
	decoded := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if value, err := strconv.ParseUint(string(text[i+1:i+3]), 16, 8); err == nil {
				decoded = append(decoded, byte(value))
				i += 2
				continue
			}
		}
		decoded = append(decoded, text[i])
	}
	return decoded
}

// unescape decodes \", \\, \/, \xXX, \uXXXX and the other escapes of JSON and Go.
func unescape(text []byte) []byte {
	decoded := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		if text[i] != '\\' || i+1 == len(text) {
			decoded = append(decoded, text[i])
			i++
			continue
		}
		value, size := escaped(text[i+1:])
		decoded = append(decoded, value...)
		i += 1 + size
	}
	return decoded
}

// escaped decodes the escape that begins with the given backslash, and returns its length. If the
// characters are not an escape, `escaped` returns the backslash.
func escaped(text []byte) (value []byte, size int) {
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[text[0]]
	if digits > 0 && len(text) > digits {
		if code, err := strconv.ParseUint(string(text[1:1+digits]), 16, 32); err == nil {
			if text[0] == 'x' {
				return []byte{byte(code)}, 1 + digits
			}
			return utf8.AppendRune(nil, rune(code)), 1 + digits
		}
	}
	if i := bytes.IndexByte([]byte(`"\/'`), text[0]); i >= 0 {
		return text[:1], 1
	}
	return []byte{'\\'}, 0
}
