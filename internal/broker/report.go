package broker

import (
	"context"
	"slices"
	"time"

	"github.com/authmaterial/broker/internal/access"
	"github.com/authmaterial/broker/internal/audit"
	"github.com/authmaterial/broker/internal/fault"
)

// Outcome is the result of a report: the name of a value of the proto enum Outcome, without the
// enum's prefix.
type Outcome string

// These are the outcomes of a report, which the proto enum Outcome documents.
const (
	AlreadyReplaced Outcome = "ALREADY_REPLACED"
	Replaced        Outcome = "REPLACED"
	NotReplaceable  Outcome = "NOT_REPLACEABLE"
)

// StaticReport is the kind of a report about static material.
type StaticReport int

// These are the kinds of reports about static material.
const (
	// StaticRejected means that the provider rejects the current version of the material. Only a
	// person can repair the values of the credential.
	StaticRejected StaticReport = iota
	// StaticOutdated means that the reported version is no longer current, because the
	// configuration has changed.
	StaticOutdated
	// StaticOtherStatus means that the reported HTTP status is not one by which providers reject
	// material of this auth method.
	StaticOtherStatus
)

// rejection is the latest report that a provider rejected an account's static material.
type rejection struct {
	version string
	at      time.Time // time of the report by Options.Clock
	since   time.Time // time of the first report about this version
}

// ReportRejection handles a caller's report that a provider answered a request with this HTTP
// status. The given version is that of the decoration in the request. The result is the current
// decoration. ReportRejection returns the same errors as Get.
func (b *Broker) ReportRejection(
	ctx context.Context, caller Caller, id, version string, status int,
) (*Decoration, Outcome, error) {
	g, now := b.basis(&caller)
	record := audit.Record{Caller: caller.Caller, Operation: audit.Report, CredentialID: id}
	var d *Decoration
	var outcome Outcome
	a, by, err := b.admit(g, &caller.Caller, id)
	if err == nil {
		rejected := a.credential.Method.MayReject(status)
		switch {
		case a.source == nil:
			d, outcome, err = b.reportStatic(caller.Caller, a, version, status, rejected)
		case rejected:
			a.noteReport(now)
			d, outcome, err = b.replaceToken(ctx, a, version)
		default:
			if d, err = b.ready(a, caller.Caller, now); d == nil && err == nil {
				d, err = b.obtain(ctx, a)
			}
			outcome = NotReplaceable
		}
	}
	record.Grant = by.grant
	if err == nil {
		record.Report = string(outcome)
	}
	if err = b.record(ctx, &record, d, err); err != nil {
		return nil, "", err
	}
	b.noteSent(by, d, now)
	return d, outcome, nil
}

// noteReport counts a report that the provider rejected the account's material.
func (a *account) noteReport(now time.Time) {
	a.reports.Add(1)
	a.reported.Store(&now)
}

// errChanged is the error of a report during which a reload removed the versions that the reported
// version is compared with.
var errChanged = fault.New(fault.ProviderUnavailable,
	"the credential's configuration changed during the report: report again").WithRetryDelay(time.Second)

// replaceToken returns a decoration whose version differs from the reported version.
func (b *Broker) replaceToken(ctx context.Context, a *account, version string) (*Decoration, Outcome, error) {
	var d *Decoration
	outcome := AlreadyReplaced
	err := inTime(ctx, func(ctx context.Context) error {
		t, replaced, err := b.options.Tokens.Replace(ctx, a.source, version)
		if err != nil {
			return err
		}
		if replaced {
			outcome = Replaced
		}
		if slices.Contains(b.versions(a, t), version) {
			return errChanged
		}
		d, err = b.decorate(a, t, b.options.Clock.Now())
		return err
	})
	// If the configuration was reloaded during the report, the new account may serve this
	// decoration as its grace decoration.
	b.mark(a.credential.ID)
	return d, outcome, err
}

// reportStatic counts a report about static material. A rejection of the current version is stored,
// and logged once for each version. A report about another version has the outcome AlreadyReplaced.
func (b *Broker) reportStatic(
	caller access.Caller, a *account, version string, status int, rejected bool,
) (*Decoration, Outcome, error) {
	now := b.options.Clock.Now()
	d, err := b.decorate(a, nil, now)
	if err != nil {
		return nil, "", err
	}
	report, outcome := StaticRejected, NotReplaceable
	if !slices.Contains(b.versions(a, nil), version) {
		report, outcome = StaticOutdated, AlreadyReplaced
	}
	if !rejected {
		report = StaticOtherStatus
	}
	provider, method := a.credential.Provider.ID, a.credential.Method.ID
	if b.options.StaticReported != nil {
		b.options.StaticReported(provider, method, report)
	}
	if report != StaticRejected {
		return d, outcome, nil
	}
	a.noteReport(now)
	next := &rejection{d.Version, now, now}
	last := a.rejection.Load()
	if last != nil && last.version == d.Version {
		next.since = last.since
	}
	if last = a.rejection.Swap(next); last == nil || last.version != d.Version {
		b.options.Logger.Warn("a caller reports that the provider rejects a static credential",
			"credential_id", a.credential.ID, "stored_version", a.version, "provider", provider, "auth_method", method,
			"version", d.Version, "http_status", status, "caller", caller.Name)
	}
	d, err = b.decorate(a, nil, now) // this decoration contains the new LastRejectionTime
	return d, outcome, err
}

// Accepted must be called after a verification, at the wall-clock time `at`, in which the provider
// accepted a version of a credential (version 0 if the credential is declared). For static
// material, rejections that callers reported before this time no longer count.
func (b *Broker) Accepted(id string, version int, at time.Time) {
	e := b.current.Load().entries.get(id)
	if e == nil {
		return
	}
	for _, of := range e.versions() {
		a := of.opened.Load()
		if a == nil || a.version != version || a.source != nil {
			continue
		}
		last := a.rejection.Load()
		if last == nil || b.wall(last.at).After(at) || !a.rejection.CompareAndSwap(last, nil) {
			continue
		}
		if _, err := b.decorate(a, nil, b.options.Clock.Now()); err != nil { // this decoration has no LastRejectionTime
			b.options.Logger.Error("after a verification, the decoration of the credential cannot be made again", "credential_id", id, "problem", err)
		}
	}
}
