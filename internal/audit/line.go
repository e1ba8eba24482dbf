package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// errYear is the error of a time that RFC 3339 cannot hold.
var errYear = errors.New("the year has more than four digits")

// appendLine appends the line of a record, with its end. Whatever the record holds, the
// line has no other, and nobody's terminal obeys it. Every call has a line, so it is put together
// without reflection.
func appendLine(b []byte, record *Record, traceID string) ([]byte, error) {
	now := record.Time.UTC()
	if year := now.Year(); year < 0 || year > 9999 {
		return b, errYear
	}
	b = now.AppendFormat(append(b, `{"time":"`...), time.RFC3339Nano)
	b = appendString(append(b, `","caller":`...), record.Caller.Name)
	b = appendString(append(b, `,"method":`...), record.Caller.Method)
	b = appendOptional(b, `,"address":`, record.Caller.Address)
	b = appendString(append(b, `,"operation":`...), string(record.Operation))
	b = appendString(append(b, `,"action":`...), string(record.Action))
	id := record.CredentialID
	if len(id) > maxIDSize/longestSign {
		id = shorten(id)
	}
	b = appendString(append(b, `,"credential_id":`...), id)
	b = appendString(append(b, `,"outcome":`...), record.Outcome)
	b = appendOptional(b, `,"report":`, record.Report)
	b = appendOptional(b, `,"version":`, record.Version)
	b = appendOptional(b, `,"grant":`, record.Grant)
	b = appendOptional(b, `,"trace_id":`, traceID)
	if record.LeftOut != 0 {
		b = strconv.AppendInt(append(b, `,"left_out":`...), int64(record.LeftOut), 10)
	}
	return append(b, "}\n"...), nil
}

// appendOptional appends a field unless it is empty.
func appendOptional(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(append(b, name...), value)
}

// appendString appends a string of JSON.
func appendString(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return append(b, encodeString(text)...)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}

// encodeString returns a string of JSON without signs that are not printed. The encoder escapes
// those up to U+001F alone.
func encodeString(text string) []byte {
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false) // it is no HTML, and would be three bytes longer for each sign
	_ = encoder.Encode(text)     // a string always has a form in JSON
	quoted := bytes.TrimSuffix(encoded.Bytes(), []byte("\n"))
	var escaped bytes.Buffer
	for _, r := range string(quoted) {
		if unicode.IsPrint(r) {
			escaped.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&escaped, `\u%04x`, unit)
		}
	}
	return escaped.Bytes()
}

// maxIDSize is the longest ID that a line holds, in bytes as it is written: the longest that
// there is. The callers choose what they name, and shall not fill the disk with it.
const maxIDSize = 128

func shorten(id string) string {
	size := 0
	for i := 0; i < len(id); {
		r, width := utf8.DecodeRuneInString(id[i:])
		if size += written(r, width); size > maxIDSize {
			return id[:i] + "…"
		}
		i += width
	}
	return id
}

// longestSign is how many bytes one byte of an ID takes up in a line at most.
const longestSign = len(`\u0000`)

// written is how many bytes a sign takes up in a line at most, which took up width.
func written(r rune, width int) int {
	switch {
	case strings.ContainsRune("\"\\\b\f\n\r\t", r):
		return len(`\n`)
	case r == utf8.RuneError && width == 1: // no sign, which is written as U+FFFD
		return longestSign
	case !unicode.IsPrint(r):
		return longestSign * utf16.RuneLen(r)
	default:
		return width
	}
}
