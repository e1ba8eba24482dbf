// Package audit writes one line for each decision of the broker: who asked for what, and
// what came of it. A line holds no secret.
package audit

import (
	"context"
	"time"

	"github.com/authmaterial/broker/internal/access"
)

// Operation is what a caller called.
type Operation string

// The operations.
const (
	Get    Operation = "get"
	Batch  Operation = "batch"
	Watch  Operation = "watch"
	Report Operation = "report"
	// LeftOut is none that was called: the record says how many denials have none.
	LeftOut Operation = "left_out"
)

// Record is one decision.
type Record struct {
	// Time is when it was made, by the wall clock; zero: now.
	Time         time.Time
	Caller       access.Caller
	Operation    Operation
	Action       access.Action
	CredentialID string
	// Grant is where the grant stands that allowed it; empty: none did, or none is needed.
	Grant string
	// Outcome is OK, or the reason of the error as callers see it.
	Outcome string
	// Report is what came of a report that was answered: ALREADY_REPLACED, REPLACED or
	// NOT_REPLACEABLE.
	Report string
	// Version is that of the material that goes out; empty: none does.
	Version string
	// LeftOut is how many denials of the caller have no record, for the operation LeftOut
	// alone.
	LeftOut int
}

// Log takes records.
type Log interface {
	// Write takes a record. After an error, what the record is about must not go out. When
	// ctx has ended it does not wait.
	Write(ctx context.Context, record Record) error
}
