package broker

import (
	"context"
	"slices"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/token"
)

// Outcome is what came of a report.
type Outcome int

// The outcomes. Their meaning stands beside the proto enum's values.
const (
	AlreadyReplaced Outcome = iota + 1
	Replaced
	NotReplaceable
)

// String is the name of the outcome on the wire.
func (o Outcome) String() string { return outcomes[o] }

var outcomes = map[Outcome]string{
	AlreadyReplaced: "ALREADY_REPLACED",
	Replaced:        "REPLACED",
	NotReplaceable:  "NOT_REPLACEABLE",
}

// ReportRejection answers a caller whose request with this version was answered with
// this HTTP status. Its errors are those of Get.
func (b *Broker) ReportRejection(ctx context.Context, caller Caller, id, version string, status int) (*Decoration, Outcome, error) {
	record := recordOf(caller.Caller, audit.Report, id)
	a, grant, err := b.generationOf(caller).admit(caller.Name, id)
	record.Grant = grant
	var decoration *Decoration
	var outcome Outcome
	if err != nil {
		err = b.refused(caller.Caller, err)
	} else {
		decoration, outcome, err = b.report(ctx, caller.Caller, a, version, status)
	}
	record.Report = outcome.String()
	if decoration, err = b.audited(ctx, record, decoration, err); err != nil {
		return nil, 0, err
	}
	return decoration, outcome, nil
}

// report is ReportRejection for a caller that may use the account.
func (b *Broker) report(ctx context.Context, caller access.Caller, a *account, version string, status int) (*Decoration, Outcome, error) {
	if a.source == nil || !slices.Contains(a.credential.Method.RejectedStatuses, status) {
		return b.reportUnreplaceable(ctx, caller, a, version, status)
	}
	limited, cancel := withReserve(ctx)
	defer cancel()
	t, replaced, err := b.tokens.Replace(limited, a.source, func(t *token.Token) bool {
		decoration, err := b.decorate(a, t, b.clock.Now())
		return err == nil && b.isVersionOf(decoration, version)
	})
	if err != nil {
		return nil, 0, outOfTime(ctx, err)
	}
	decoration, err := b.decorate(a, t, b.clock.Now())
	if err != nil {
		return nil, 0, err
	}
	b.succeedFormer(a, version, t, decoration)
	if replaced {
		return decoration, Replaced, nil
	}
	return decoration, AlreadyReplaced, nil
}

// reportUnreplaceable answers a report that forces no renewal. Static material that
// differs from the reported one was changed in the configuration: that is worth a try.
func (b *Broker) reportUnreplaceable(ctx context.Context, caller access.Caller, a *account, version string, status int) (*Decoration, Outcome, error) {
	if a.source == nil {
		return b.reportStatic(caller, a, version, status)
	}
	ready, decoration, err := b.ready(a, caller, b.clock.Now())
	if !ready {
		decoration, err = b.obtain(ctx, a)
	}
	if err != nil {
		return nil, 0, err
	}
	return decoration, NotReplaceable, nil
}

// reportStatic is reportUnreplaceable for static material.
func (b *Broker) reportStatic(caller access.Caller, a *account, version string, status int) (*Decoration, Outcome, error) {
	decoration, err := b.decorate(a, nil, b.clock.Now())
	if err != nil {
		return nil, 0, err
	}
	report, current := StaticRejected, b.isVersionOf(decoration, version)
	switch {
	case !slices.Contains(a.credential.Method.RejectedStatuses, status):
		report = StaticOtherStatus
	case !current:
		report = StaticOutdated
	}
	b.noteStaticReport(a, caller, decoration, report, status)
	if !current {
		return decoration, AlreadyReplaced, nil
	}
	decoration, err = b.decorate(a, nil, b.clock.Now()) // with what was noted
	return decoration, NotReplaceable, err
}
