package broker

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// These constants bound what is remembered about the usage of versions.
const (
	// usageLife is how long the usage of a version is remembered after its latest minute.
	usageLife = 7 * 24 * time.Hour
	// maxUsageCallers is the maximum number of callers of one credential. The callers that were
	// seen least recently are forgotten first.
	maxUsageCallers = 1000
	// maxUsageVersions is the maximum number of versions of one credential and caller.
	maxUsageVersions = 5
	// maxUsageRecords is the maximum number of pairs of a credential and a caller in memory. If it
	// is reached, no others are added until older ones are forgotten.
	maxUsageRecords = 100_000
)

// minutes is a time in minutes since 1970.
type minutes int64

func minutesOf(wall time.Time) minutes { return minutes(wall.Unix() / 60) }

// time returns the zero time for 0.
func (m minutes) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.Unix(int64(m)*60, 0)
}

// span contains the first and the last minute of something that happened one or more times. The
// span of something that never happened is zero.
type span [2]minutes

// union returns the smallest span that contains both spans.
func (s span) union(other span) span {
	switch {
	case s == span{}:
		return other
	case other == span{}:
		return s
	}
	return span{min(s[0], other[0]), max(s[1], other[1])}
}

// versionUsage is when one caller was sent a version of a decoration, and when the caller reported
// that it used the version.
type versionUsage struct {
	Version string `json:"version"`
	// Number is the number of the stored version from which the broker made the decoration. It is 0
	// if the credential is declared, or if the number is unknown.
	Number int  `json:"number,omitempty"`
	Sent   span `json:"sent,omitzero"`
	Used   span `json:"used,omitzero"`
}

func (v *versionUsage) latest() minutes { return max(v.Sent[1], v.Used[1]) }

// callerUsage is the usage of one credential by one caller.
type callerUsage []versionUsage

func (c callerUsage) latest() minutes {
	latest := minutes(0)
	for i := range c {
		latest = max(latest, c[i].latest())
	}
	return latest
}

// `with` returns the usage with the given usage of a version added. If there are too many versions,
// the least recent one is forgotten, but of tokens that were issued for the same stored version, at
// least the last one is kept.
func (c callerUsage) with(added versionUsage) callerUsage {
	for i := range c {
		if known := &c[i]; known.Version == added.Version {
			known.Sent, known.Used = known.Sent.union(added.Sent), known.Used.union(added.Used)
			known.Number = cmp.Or(known.Number, added.Number)
			return c
		}
	}
	c = append(c, added)
	if len(c) <= maxUsageVersions {
		return c
	}
	drop, outdated := 0, false
	for i := range c {
		is := c.isOutdated(i)
		if is && !outdated || is == outdated && c[i].latest() < c[drop].latest() {
			drop, outdated = i, is
		}
	}
	return slices.Delete(c, drop, drop+1)
}

// isOutdated reports whether another version is more recent, and was made from the same stored
// version. Of versions with the same latest minute, the last one is the most recent.
func (c callerUsage) isOutdated(i int) bool {
	for j := range c {
		if c[j].Number == c[i].Number && (c[j].latest() > c[i].latest() || c[j].latest() == c[i].latest() && j > i) {
			return true
		}
	}
	return false
}

// credentialUsage is the usage of one credential by all callers.
type credentialUsage struct {
	Callers map[string]callerUsage `json:"callers"`
	// Forgot is the latest minute in which a caller was forgotten because there were too many.
	Forgot minutes `json:"forgot,omitempty"`
}

func (c *credentialUsage) add(caller string, added versionUsage) {
	if c.Callers == nil {
		c.Callers = map[string]callerUsage{}
	}
	c.Callers[caller] = c.Callers[caller].with(added)
}

// merge adds the usage in `other` that is not older than usageLife.
func (c *credentialUsage) merge(other *credentialUsage, now minutes) {
	for caller, all := range other.Callers {
		for _, one := range all {
			c.add(caller, one)
		}
	}
	c.Forgot = max(c.Forgot, other.Forgot)
	c.forget(now)
	c.limit(maxUsageCallers, now)
}

// forget removes what is older than usageLife.
func (c *credentialUsage) forget(now minutes) {
	oldest := now - minutes(usageLife/time.Minute)
	for caller, all := range c.Callers {
		kept := slices.DeleteFunc(all, func(v versionUsage) bool { return v.latest() < oldest })
		if c.Callers[caller] = kept; len(kept) == 0 {
			delete(c.Callers, caller)
		}
	}
	if c.Forgot < oldest {
		c.Forgot = 0
	}
}

// limit removes all but the most recent callers.
func (c *credentialUsage) limit(callers int, now minutes) {
	if len(c.Callers) <= callers {
		return
	}
	for _, caller := range c.recent()[callers:] {
		delete(c.Callers, caller)
	}
	c.Forgot = now
}

// `recent` returns the callers, the most recent first.
func (c *credentialUsage) recent() []string {
	return slices.SortedFunc(maps.Keys(c.Callers), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.Callers[b].latest(), c.Callers[a].latest()), strings.Compare(a, b))
	})
}

func (c *credentialUsage) clone() *credentialUsage {
	callers := make(map[string]callerUsage, len(c.Callers))
	for caller, all := range c.Callers {
		callers[caller] = slices.Clone(all)
	}
	return &credentialUsage{callers, c.Forgot}
}

// usages is the usage of all credentials at this replica.
type usages struct {
	mu           sync.Mutex
	byCredential map[string]*credentialUsage
	unsaved      map[string]struct{} // IDs of the credentials whose usage has changed since it was saved; nil if it is not saved
	records      int                 // number of callers of all credentials
	forgot       minutes             // when the method forget was last called
	full         minutes             // the latest minute in which a caller was not added because there were too many
}

// note adds the usage of a version at the minute `now`.
func (x *usages) note(id, caller string, added versionUsage, now minutes) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.byCredential[id]
	if c == nil || c.Callers[caller] == nil {
		if x.records >= maxUsageRecords && x.forgot != now {
			x.forget(now)
			c = x.byCredential[id]
		}
		if x.records >= maxUsageRecords {
			x.full = now
			return
		}
		x.records++
	}
	if c == nil {
		c = new(credentialUsage)
		if x.byCredential == nil {
			x.byCredential = map[string]*credentialUsage{}
		}
		x.byCredential[id] = c
	}
	c.add(caller, added)
	if n := len(c.Callers); n > maxUsageCallers {
		c.limit(maxUsageCallers*9/10, now) // more than one, so that most new callers cause no sorting
		x.records -= n - len(c.Callers)
	}
	if x.unsaved != nil {
		x.unsaved[id] = struct{}{}
	}
}

// forget removes what is older than usageLife. The caller must hold the mutex.
func (x *usages) forget(now minutes) {
	x.forgot, x.records = now, 0
	for id, c := range x.byCredential {
		c.forget(now)
		if x.records += len(c.Callers); len(c.Callers) == 0 {
			delete(x.byCredential, id)
			delete(x.unsaved, id)
		}
	}
}

// `of` returns a copy of the usage of a credential, in which Forgot also shows whether this replica
// had no room for callers of any credential.
func (x *usages) of(id string) *credentialUsage {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := &credentialUsage{Callers: map[string]callerUsage{}}
	if known := x.byCredential[id]; known != nil {
		c = known.clone()
	}
	c.Forgot = max(c.Forgot, x.full)
	return c
}
