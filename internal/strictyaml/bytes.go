package strictyaml

import (
	"bytes"
	"unicode/utf8"
)

const byteOrderMark = "\uFEFF"

// checkText returns the first place at which source is no text that every editor
// shows alike, and why; the sentence is empty when there is none. The parser takes
// more: it would count lines in another way than an editor.
func checkText(source []byte) (at place, sentence string) {
	if len(source) > MaxSize {
		return start, "the file is larger than 64 MiB"
	}
	at = start
	for len(source) > 0 {
		r, size := utf8.DecodeRune(source)
		if sentence := checkRune(r, source[:size], source[size:]); sentence != "" {
			return at, sentence
		}
		if at.column++; r == '\n' {
			at = place{at.line + 1, 1}
		}
		source = source[size:]
	}
	return at, ""
}

// checkRune says why a character cannot stand in a file; encoded is its bytes, and
// rest what follows.
func checkRune(r rune, encoded, rest []byte) string {
	const printable = 0x20 // and what follows it
	switch {
	case r == '\n', r == '\t':
	case r == '\r' && !bytes.HasPrefix(rest, []byte("\n")):
		return "a carriage return without a line feed: end the lines with LF or CR LF"
	case r == '\r', r >= printable && r < utf8.RuneSelf-1:
	case r == utf8.RuneError && len(encoded) == 1:
		return "the file is not UTF-8 from here on: save it as UTF-8"
	case r == 0:
		return "a NUL byte: save the file as UTF-8"
	case r < 0xa0:
		return "a control character: write it as an escape in double quotes"
	case r == '\uFEFF':
		return "a byte order mark inside the file: remove it"
	case r == '\u2028', r == '\u2029':
		return "a line separator that is no line feed: remove it, or write it as an escape in double quotes"
	case r == '\uFFFE', r == '\uFFFF':
		return "no character of Unicode: remove it"
	}
	return ""
}
