package broker

import (
	"context"
	"sync"
	"time"

	"github.com/authmaterial/broker/internal/audit"
)

// batchPatience is the time limit for computing the results of a batch if the call has no deadline,
// and the time limit for writing the audit records of this batch afterwards.
const batchPatience = 5 * time.Second

// Result is the outcome for one credential ID: a decoration or an error.
type Result struct {
	CredentialID string
	Decoration   *Decoration
	Err          error
}

// GetBatch returns a result for each credential ID, in the order of the IDs, and computes the
// results concurrently. A result that is not available shortly before the deadline of ctx is an
// error. If ctx has no deadline, GetBatch waits up to 5 seconds.
func (b *Broker) GetBatch(ctx context.Context, caller Caller, ids []string) []Result {
	g, now := b.basis(&caller)
	results := make([]Result, len(ids))
	asked := make([]struct {
		record  audit.Record
		by      *decision
		account *account // nil if the caller may not use the credential, or if there is none
	}, len(ids))
	limited, cancel := limitBatch(ctx)
	defer cancel()
	var waiting sync.WaitGroup
	for i, id := range ids {
		r := &results[i]
		r.CredentialID = id
		a, by, err := b.admit(g, &caller.Caller, id)
		asked[i].by, asked[i].account = by, a
		asked[i].record = audit.Record{Caller: caller.Caller, Operation: audit.Batch, CredentialID: id, Grant: by.grant}
		if r.Err = err; err != nil {
			continue
		}
		if r.Decoration, r.Err = b.ready(a, caller.Caller, now); r.Decoration == nil && r.Err == nil {
			waiting.Go(func() { r.Decoration, r.Err = b.obtain(limited, a) })
		}
	}
	waiting.Wait()
	recording, cancelRecords := limitBatch(ctx)
	defer cancelRecords()
	for i := range results {
		r := &results[i]
		if r.Err = b.record(recording, &asked[i].record, r.Decoration, r.Err); r.Err != nil {
			r.Decoration = nil
		}
		if a := asked[i].account; a != nil {
			b.countUse(asked[i].by, a.version, r.Decoration, now)
		}
	}
	return results
}

// limitBatch returns ctx if it has a deadline, or else a context that ends after batchPatience.
func limitBatch(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, batchPatience)
}
