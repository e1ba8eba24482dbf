package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/authmaterial/broker/internal/clock"
)

// line is a record as it is written.
type line struct {
	Time         time.Time `json:"time"`
	Caller       string    `json:"caller"`
	Method       string    `json:"method"`
	Address      string    `json:"address,omitempty"`
	Operation    Operation `json:"operation"`
	Action       string    `json:"action"`
	CredentialID string    `json:"credential_id"`
	Outcome      string    `json:"outcome"`
	Report       string    `json:"report,omitempty"`
	Version      string    `json:"version,omitempty"`
	Grant        string    `json:"grant,omitempty"`
	TraceID      string    `json:"trace_id,omitempty"`
	LeftOut      int       `json:"left_out,omitempty"`
}

// encode returns the line of a record, with its end. Whatever the record holds, the line
// has no other, and nobody's terminal obeys it.
func (w *Writer) encode(ctx context.Context, record Record) ([]byte, error) {
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false) // it is no HTML, and would be three bytes longer for each sign
	err := encoder.Encode(line{
		Time:         clock.WallNow(w.options.Clock).UTC(),
		Caller:       record.Caller.Name,
		Method:       record.Caller.Method,
		Address:      record.Caller.Address,
		Operation:    record.Operation,
		Action:       string(record.Action),
		CredentialID: shorten(record.CredentialID),
		Outcome:      record.Outcome,
		Report:       record.Report,
		Version:      record.Version,
		Grant:        record.Grant,
		TraceID:      w.options.TraceID(ctx),
		LeftOut:      record.LeftOut,
	})
	return escape(encoded.Bytes()), err
}

// escape has JSON hold no sign as it is that is not printed. The encoder does so up to U+001F
// alone.
func escape(encoded []byte) []byte {
	if !bytes.ContainsFunc(encoded, hidden) {
		return encoded
	}
	var escaped bytes.Buffer
	for _, r := range string(encoded) {
		if !hidden(r) {
			escaped.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&escaped, `\u%04x`, unit)
		}
	}
	return escaped.Bytes()
}

func hidden(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

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

// written is how many bytes a sign takes up in a line at most, which took up width.
func written(r rune, width int) int {
	const escape = len(`\u0000`)
	switch {
	case strings.ContainsRune("\"\\\b\f\n\r\t", r):
		return len(`\n`)
	case r == utf8.RuneError && width == 1: // no sign, which is written as U+FFFD
		return escape
	case hidden(r):
		return escape * utf16.RuneLen(r)
	default:
		return width
	}
}
