package broker

import (
	"time"

	"github.com/authmaterial/broker/internal/access"
)

// StaticReport is how a report about static material was understood.
type StaticReport int

// The reports about static material.
const (
	// StaticRejected is about the current version: the provider rejects the credential's
	// values, and only a person can change them.
	StaticRejected StaticReport = iota
	// StaticOutdated is about a version that the configuration has replaced.
	StaticOutdated
	// StaticOtherStatus has a status that does not mean rejection for the auth method.
	StaticOtherStatus
)

// rejection is the last report of StaticRejected about an account.
type rejection struct {
	version string
	at      time.Time
}

// noteStaticReport counts a report about static material whose current decoration is d, and
// remembers a rejection. The log has one line for each version, however many reports come.
func (b *Broker) noteStaticReport(a *account, caller access.Caller, d *Decoration, report StaticReport, status int) {
	provider, method := a.credential.Provider.ID, a.credential.Method.ID
	b.staticReported(provider, method, report)
	if report != StaticRejected {
		return
	}
	now := &rejection{version: d.Version, at: b.clock.Now()}
	if before := a.rejected.Swap(now); before != nil && before.version == now.version {
		return
	}
	b.logger.Warn("a caller reports that the provider rejects a static credential",
		"credential_id", a.credential.ID, "provider", provider, "auth_method", method,
		"version", d.Version, "http_status", status, "caller", caller.Name)
}

// timeOf returns when this version was last reported as rejected, as a time of the Broker's clock;
// zero: never.
func (r *rejection) timeOf(version string) time.Time {
	if r != nil && r.version == version {
		return r.at
	}
	return time.Time{}
}
