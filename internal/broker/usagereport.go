package broker

import (
	"slices"

	"github.com/authmaterial/broker/internal/token"
)

// VersionUse is a version of a decoration that a caller has sent to a provider.
type VersionUse struct{ CredentialID, Version string }

// ReportUsage notes which versions a caller has used. Uses of credentials that the caller may not
// use, or that do not exist, are ignored. They cause no audit record, because the caller learns
// nothing about them.
func (b *Broker) ReportUsage(caller Caller, uses []VersionUse) {
	g, now := b.basis(&caller)
	minute := minutesOf(b.wall(now))
	for _, use := range uses {
		if _, err := g.decisionOf(&caller.Caller, use.CredentialID); err != nil {
			continue
		}
		e := g.entries.get(use.CredentialID)
		if e == nil {
			continue
		}
		b.usages.note(use.CredentialID, caller.Name, versionUsage{Version: use.Version, Used: span{minute, minute}}, minute)
		if b.options.UsageReported != nil {
			method := e.forCaller(&caller.Caller).credential.Method.ID
			b.options.UsageReported(e.credential.Provider.ID, method, slices.Contains(b.currentVersions(e), use.Version))
		}
	}
}

// currentVersions returns the versions of the decorations that the broker sends to callers of a
// credential. Replicas of a fleet that have another first key in Options.VersionKeys send the same
// material with other versions, which are included.
func (b *Broker) currentVersions(e *entry) []string {
	var versions []string
	for _, of := range e.versions() {
		a := of.opened.Load()
		if a == nil || of.credential.Disabled {
			continue
		}
		if g := b.graceOf(a); g != nil {
			a = g.previous
		}
		var t *token.Token
		if a.source != nil {
			if t, _ = b.options.Tokens.Current(a.source); t == nil {
				continue
			}
		}
		if latest := a.latest.Load(); latest != nil && latest.token == t && len(b.options.VersionKeys) == 1 {
			versions = append(versions, latest.Version) // saves the computation
			continue
		}
		versions = append(versions, b.versions(a, t)...)
	}
	return versions
}
