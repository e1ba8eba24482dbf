package broker

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

// These constants bound what the method Usage returns.
const (
	maxVersionsShown = 10
	maxCallersShown  = 20
)

// Usage is what is known about the callers that were sent a credential's material in the last 7
// days. All times are wall-clock times, to the minute.
type Usage struct {
	// Versions are the versions that the broker sends to callers now, and then up to 10 others: first
	// those that callers were sent, and of these the most recent first.
	Versions []VersionUsage
	// Silent are up to 20 callers that were sent a version and have never reported a use, the most
	// recent first. SilentCount is the number of all these callers.
	Silent      []string
	SilentCount int
	// Truncated is true if there were more callers or versions than the broker remembers or returns.
	Truncated bool
	// Shared is true if the usage at all replicas of the fleet is included.
	Shared bool
}

// VersionUsage is the usage of one version of a credential's decoration.
type VersionUsage struct {
	Version string
	// Number is the number of the stored version from which the decoration was made, or 0 if the
	// credential is declared, or if the number is unknown.
	Number int
	// Current is true if the broker sends this version to callers now.
	Current bool
	// CallersSent is the number of callers that were sent the version, and CallersUsed the number
	// of those that reported that they used it.
	CallersSent, CallersUsed int
	// The times are zero if no caller was sent the version, or if no caller reported a use.
	FirstSent, LastSent, FirstUse, LastUse time.Time
	// Callers are up to 20 callers. The callers that reported a use are first, the most recent first.
	Callers []CallerVersion
}

// CallerVersion is when a caller was last sent a version, and when the caller last reported a use of
// the version. A time is zero if this did not happen.
type CallerVersion struct {
	Caller            string
	LastSent, LastUse time.Time
}

// Usage returns the usage of a credential's versions.
func (b *Broker) Usage(ctx context.Context, id string) Usage {
	all, shared := b.usageOf(ctx, id, minutesOf(b.wall(b.options.Clock.Now())))
	usage := Usage{Shared: shared, Truncated: all.Forgot != 0}
	var current []string
	if e := b.current.Load().entries.get(id); e != nil {
		current = b.currentVersions(e)
	}
	others := 0
	for _, version := range all.byVersion() {
		shown := version.toUsage(slices.Contains(current, version.name))
		if !shown.Current {
			if others++; others > maxVersionsShown {
				usage.Truncated = true
				continue
			}
		}
		usage.Versions = append(usage.Versions, shown)
	}
	slices.SortStableFunc(usage.Versions, func(a, b VersionUsage) int {
		switch {
		case a.Current == b.Current:
			return 0
		case a.Current:
			return -1
		}
		return 1
	})
	for _, caller := range all.recent() {
		if all.Callers[caller].isSilent() {
			usage.Silent = append(usage.Silent, caller)
		}
	}
	usage.SilentCount = len(usage.Silent)
	usage.Silent = usage.Silent[:min(len(usage.Silent), maxCallersShown)]
	return usage
}

// isSilent reports whether the caller has never reported a use.
func (c callerUsage) isSilent() bool {
	return !slices.ContainsFunc(c, func(v versionUsage) bool { return v.Used != span{} })
}

// usageByVersion is the usage of one version by all callers.
type usageByVersion struct {
	name    string
	number  int
	callers []usageByCaller
}

type usageByCaller struct {
	caller     string
	sent, used span
}

// byVersion returns the usage of each version, the most recent first. Versions that no caller was sent
// are last, because a caller can report any text, and must not hide the versions that others use.
func (c *credentialUsage) byVersion() []*usageByVersion {
	found := map[string]*usageByVersion{}
	var all []*usageByVersion
	for _, caller := range c.recent() {
		for _, of := range c.Callers[caller] {
			v := found[of.Version]
			if v == nil {
				v = &usageByVersion{name: of.Version}
				found[of.Version] = v
				all = append(all, v)
			}
			v.number = cmp.Or(v.number, of.Number)
			v.callers = append(v.callers, usageByCaller{caller, of.Sent, of.Used})
		}
	}
	slices.SortStableFunc(all, func(a, b *usageByVersion) int {
		if a.isSent() != b.isSent() {
			if a.isSent() {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.latest(), a.latest()), strings.Compare(a.name, b.name))
	})
	return all
}

// isSent reports whether a caller was sent the version.
func (v *usageByVersion) isSent() bool {
	return slices.ContainsFunc(v.callers, func(c usageByCaller) bool { return c.sent != span{} })
}

func (v *usageByVersion) latest() minutes {
	latest := minutes(0)
	for _, c := range v.callers {
		latest = max(latest, c.sent[1], c.used[1])
	}
	return latest
}

func (v *usageByVersion) toUsage(current bool) VersionUsage {
	usage := VersionUsage{Version: v.name, Number: v.number, Current: current}
	var sent, used span
	for _, c := range v.callers {
		if c.sent != (span{}) {
			usage.CallersSent++
			sent = sent.union(c.sent)
		}
		if c.used != (span{}) {
			usage.CallersUsed++
			used = used.union(c.used)
		}
	}
	usage.FirstSent, usage.LastSent, usage.FirstUse, usage.LastUse = sent[0].time(), sent[1].time(), used[0].time(), used[1].time()
	slices.SortStableFunc(v.callers, func(a, b usageByCaller) int {
		return cmp.Or(cmp.Compare(b.used[1], a.used[1]), cmp.Compare(b.sent[1], a.sent[1]), strings.Compare(a.caller, b.caller))
	})
	for _, c := range v.callers[:min(len(v.callers), maxCallersShown)] {
		usage.Callers = append(usage.Callers, CallerVersion{c.caller, c.sent[1].time(), c.used[1].time()})
	}
	return usage
}
