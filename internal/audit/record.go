// Package audit writes one JSON line for each decision of the broker: which caller requested which
// credential, and the outcome. No line contains a secret.
package audit

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/authmaterial/broker/internal/access"
)

// Operation is the kind of call that a record is about.
type Operation string

// These are the kinds of calls that records are about.
const (
	Get    Operation = "get"
	Batch  Operation = "batch"
	Watch  Operation = "watch"
	Report Operation = "report"

	CreateCredential   Operation = "create_credential"   //nolint:gosec // the name of an operation
	GetCredential      Operation = "get_credential"      //nolint:gosec // the name of an operation
	ListCredentials    Operation = "list_credentials"    //nolint:gosec // the name of an operation
	UpdateCredential   Operation = "update_credential"   //nolint:gosec // the name of an operation
	DeleteCredential   Operation = "delete_credential"   //nolint:gosec // the name of an operation
	UndeleteCredential Operation = "undelete_credential" //nolint:gosec // the name of an operation
	PurgeCredential    Operation = "purge_credential"    //nolint:gosec // the name of an operation
	CreateVersion      Operation = "create_version"
	ListVersions       Operation = "list_versions"
	ActivateVersion    Operation = "activate_version"
	WithdrawCanary     Operation = "withdraw_canary"
	DestroyVersion     Operation = "destroy_version"
	VerifyCredential   Operation = "verify_credential" //nolint:gosec // the name of an operation
	GetFleetStatus     Operation = "get_fleet_status"
	GetStatus          Operation = "get_credential_status"
	ListEvents         Operation = "list_events"
	ExplainAccess      Operation = "explain_access"

	// SignIn is a sign-in to the console.
	SignIn           Operation = "sign_in"
	SignOut          Operation = "sign_out"
	CreateSignInLink Operation = "create_sign_in_link"

	// LeftOut is not a kind of call: a record with this operation states how many denials have no
	// record of their own.
	LeftOut Operation = "left_out"
)

// Record describes one decision of the broker about a call.
type Record struct {
	// Time is when the broker made the decision, by the wall clock. If Time is zero, the current
	// time is recorded.
	Time      time.Time
	Caller    access.Caller
	Operation Operation
	// Action is the action that the call needs. Action and CredentialID are empty if the operation
	// is about the console.
	Action       access.Action
	CredentialID string
	// Grant is the position, in the configuration, of the grant that allowed the call. Grant is
	// empty if no grant allowed the call, or if the call needs no grant.
	Grant string
	// Outcome is "OK", or the reason in the error that the caller gets.
	Outcome string
	// Report is ALREADY_REPLACED, REPLACED or NOT_REPLACEABLE for a successful report that material
	// was rejected, and empty for other calls.
	Report string
	// Version is the version of the material in the answer, or empty if the answer has no material.
	Version string
	// LeftOut is the number of the caller's denials without records of their own. Only records with
	// the operation LeftOut have this number.
	LeftOut int
	// StoredVersion is the number of the credential's version that a management call is about, or 0.
	StoredVersion int
	// Fields are the names of the fields that a management call sets.
	Fields []string
	// SignInWith is `link`, `token` or `oidc:ISSUER`, with the issuer's name in the configuration.
	// Only records with the operation SignIn have it.
	SignInWith string
}

// Log is a destination for audit records.
type Log interface {
	// Write writes an audit record about one answer of the broker. If Write fails, the broker must
	// not send that answer. When ctx has ended, Write does not wait.
	Write(ctx context.Context, record Record) error
}

// maxIDSize is the maximum size of a credential ID in an audit line in bytes, which is the size of
// the longest valid ID. Callers can send any text as an ID, and long texts must not fill the disk.
const maxIDSize = 128

// noLimit is the size limit for texts that are never cut.
const noLimit = math.MaxInt

// appendLine appends a record as one line of JSON. appendLine does not use encoding/json, which
// would be too slow, because every call has a record. appendLine escapes text from callers, so that
// the text can neither end the line nor control a terminal.
func appendLine(b []byte, record *Record, traceID string) []byte {
	b = record.Time.UTC().AppendFormat(append(b, `{"time":"`...), time.RFC3339Nano)
	b = appendString(append(b, `","caller":`...), record.Caller.Name, noLimit)
	b = appendString(append(b, `,"method":`...), record.Caller.Method, noLimit)
	b = appendOptional(b, `,"address":`, record.Caller.Address)
	b = appendString(append(b, `,"operation":`...), string(record.Operation), noLimit)
	b = appendString(append(b, `,"action":`...), string(record.Action), noLimit)
	b = appendString(append(b, `,"credential_id":`...), record.CredentialID, maxIDSize)
	b = appendString(append(b, `,"outcome":`...), record.Outcome, noLimit)
	b = appendOptional(b, `,"report":`, record.Report)
	b = appendOptional(b, `,"version":`, record.Version)
	b = appendOptional(b, `,"grant":`, record.Grant)
	b = appendOptional(b, `,"sign_in_with":`, record.SignInWith)
	b = appendOptional(b, `,"trace_id":`, traceID)
	if record.LeftOut != 0 {
		b = strconv.AppendInt(append(b, `,"left_out":`...), int64(record.LeftOut), 10)
	}
	if record.StoredVersion != 0 {
		b = strconv.AppendInt(append(b, `,"stored_version":`...), int64(record.StoredVersion), 10)
	}
	for i, field := range record.Fields {
		if i == 0 {
			b = append(b, `,"fields":[`...)
		} else {
			b = append(b, ',')
		}
		b = appendString(b, field, maxIDSize)
	}
	if len(record.Fields) > 0 {
		b = append(b, ']')
	}
	return append(b, "}\n"...)
}

// appendOptional appends a field of a JSON object unless its value is empty.
func appendOptional(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(append(b, name...), value, noLimit)
}

// appendString appends a text as a JSON string. If the JSON string would have more bytes between
// its quotes than the limit, the text is cut after a whole character, and "…" is appended.
func appendString(b []byte, text string, limit int) []byte {
	if len(text) > limit {
		return appendEscaped(b, text, limit)
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return appendEscaped(b, text, limit)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}

// appendEscaped does the work of appendString for texts that must be cut or have characters to
// escape, such as unprintable ones.
func appendEscaped(b []byte, text string, limit int) []byte {
	b = append(b, '"')
	begin := len(b)
	for _, r := range text {
		before := len(b)
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case unicode.IsPrint(r):
			b = utf8.AppendRune(b, r)
		default:
			for _, unit := range utf16.AppendRune(nil, r) {
				b = fmt.Appendf(b, `\u%04x`, unit)
			}
		}
		if len(b)-begin > limit {
			b = append(b[:before], "…"...)
			break
		}
	}
	return append(b, '"')
}
