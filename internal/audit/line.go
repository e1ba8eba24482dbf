package audit

import (
	"context"
	"encoding/json"
	"strings"
	"time"
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
	Version      string    `json:"version,omitempty"`
	Grant        string    `json:"grant,omitempty"`
	TraceID      string    `json:"trace_id,omitempty"`
	LeftOut      int       `json:"left_out,omitempty"`
}

// encode returns the line of a record, with its end. Whatever the record holds, the line
// has no other.
func (w *Writer) encode(ctx context.Context, record Record) ([]byte, error) {
	encoded, err := json.Marshal(line{
		Time:         w.options.Clock.Now().UTC(),
		Caller:       record.Caller.Name,
		Method:       record.Caller.Method,
		Address:      record.Caller.Address,
		Operation:    record.Operation,
		Action:       string(record.Action),
		CredentialID: shorten(record.CredentialID),
		Outcome:      record.Outcome,
		Version:      record.Version,
		Grant:        record.Grant,
		TraceID:      w.options.TraceID(ctx),
		LeftOut:      record.LeftOut,
	})
	return append(encoded, '\n'), err
}

// maxIDSize is the longest ID that a line holds, in bytes: the longest that there is. The
// callers choose what they name, and shall not fill the disk with it.
const maxIDSize = 128

func shorten(id string) string {
	if len(id) <= maxIDSize {
		return id
	}
	return strings.ToValidUTF8(id[:maxIDSize], "") + "…"
}
