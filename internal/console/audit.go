package console

import (
	"context"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/authentication"
	"github.com/authmaterial/broker/internal/fault"
)

// Denials limits how many refusals of each caller are recorded in the audit log.
type Denials interface {
	Allow(caller access.Caller) bool
}

var (
	errManyRefusals = fault.New(fault.RateLimited, "too many requests to sign in were refused: wait a second")
	errNotRecorded  = fault.New(fault.Internal, "the audit record could not be written. "+seeLog)
)

// record writes an audit record about somebody who asked for a session or a link, with the outcome err.
// It returns the error for that person: err, errManyRefusals, or errNotRecorded. Calls of the API, and
// so most actions of people, have their own records.
func (c *Console) record(ctx context.Context, record audit.Record, err error) error {
	if err != nil && !c.options.Denials.Allow(record.Caller) {
		return errManyRefusals
	}
	if c.options.Audit == nil {
		return err
	}
	record.Outcome = "OK"
	if err != nil {
		record.Outcome = string(fault.From(err).Reason)
	}
	if c.options.Audit.Write(ctx, record) != nil {
		return errNotRecorded
	}
	return err
}

// unknown returns the caller in the audit record of a refused sign-in, which identifies nobody. No real
// caller has this name.
func unknown(address string) access.Caller {
	return access.Caller{Name: "unknown", Method: authentication.MethodNone, Address: address}
}
