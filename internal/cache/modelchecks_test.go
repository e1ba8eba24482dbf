package cache_test

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fault"
	"github.com/authmaterial/broker/internal/token"
)

// `fine` is how long the effects of a provider's failures may last after the provider has begun to
// answer quickly: the longest back-off, and then one refresh.
const fine = 75*time.Second + 15*time.Second

type modelCall struct {
	cache   *cache.Cache
	began   time.Time
	order   int               // the value of model.events when the call began
	current map[string]string // for each token key, the replica's current token
	stored  map[string]string // for each token key, the token in the Store
}

type modelReport struct {
	value string
	at    time.Time
}

func (m *model) look(replica int) modelCall {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events++
	c := modelCall{cache: m.replicas[replica].cache, began: time.Now(), order: m.events, current: map[string]string{}, stored: map[string]string{}}
	for _, i := range m.issuers {
		c.current[i.key] = currentValue(c.cache, i.at(replica))
		c.stored[i.key] = m.shared.stored(i.key)
	}
	return c
}

func currentValue(c *cache.Cache, source cache.Source) string {
	if t, ok := c.Current(source); ok {
		return t.Value.Reveal()
	}
	return ""
}

func (m *model) current(i *issuer, replica int) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return currentValue(m.replicas[replica].cache, i.at(replica))
}

// isCurrent reports whether the replica has not been restarted since the call began.
func (m *model) isCurrent(replica int, c modelCall) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.replicas[replica].cache == c.cache
}

// hasReported reports whether the replica had answered a report of the token before the given
// event.
func (m *model) hasReported(replica int, value string, before int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.replicas[replica].reported[value]
	return ok && at < before
}

// checkServed checks a token that a replica returned: it must not have ended, the replica must not
// have answered a report of it before, and it must not be banned.
func (m *model) checkServed(i *issuer, replica int, c modelCall, t *token.Token) {
	value := t.Value.Reveal()
	if made := i.find(value); !time.Now().Before(made.End()) {
		m.fail("replica %d serves %s, which ended at %v", replica, value, made.End())
	}
	if m.isCurrent(replica, c) && m.hasReported(replica, value, c.order) {
		m.fail("replica %d serves %s, and has answered a report of it", replica, value)
	}
	m.mu.Lock()
	banned, ok := m.banned[value]
	m.mu.Unlock()
	if ok && !c.began.Before(banned) {
		m.fail("replica %d serves %s, a report of which was answered by one of the fleet long ago", replica, value)
	}
}

func (m *model) noteReport(s modelServed, replica int, c modelCall, t *token.Token) {
	if t.Value.Reveal() == s.value {
		m.fail("a report of %s to replica %d is answered with that", s.value, replica)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.replicas[replica]
	if r.cache != c.cache {
		return // the replica was restarted
	}
	m.events++
	if _, ok := r.reported[s.value]; !ok {
		r.reported[s.value] = m.events
	}
	m.answered = append(m.answered, modelReport{s.value, time.Now()})
}

// settleBans bans each reported token a second after the report was answered, if there was no
// disturbance shortly before the report. No replica may serve a banned token.
func (m *model) settleBans() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.answered) > 0 && time.Since(m.answered[0].at) >= time.Second {
		report := m.answered[0]
		m.answered = m.answered[1:]
		if _, ok := m.banned[report.value]; !ok && !m.calmFrom.IsZero() && report.at.Sub(m.calmFrom) >= settling {
			m.banned[report.value] = report.at.Add(time.Second)
		}
	}
}

func (m *model) checkDuration(i *issuer, replica int, c modelCall, t *token.Token) {
	limit := 17 * time.Second // 15s for one refresh, and the rest for operations of the Store before and after it
	switch {
	case t != nil && t.Value.Reveal() == c.current[i.key] && time.Now().Before(t.ExpireTime()):
		limit = time.Second
	case i.isFine():
		limit = 6 * time.Second // 3s until an abandoned lease expires, and the rest for one token request
	}
	if took := time.Since(c.began); took > limit {
		m.fail("a call of replica %d for %s takes %v", replica, i.key, took)
	}
}

// isFine reports whether the provider has answered quickly for at least the duration `fine`.
func (i *issuer) isFine() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return !i.fineFrom.IsZero() && time.Since(i.fineFrom) >= fine
}

// checkFailure checks that the failure of a call was unavoidable.
func (m *model) checkFailure(i *issuer, replica int, c modelCall, err error) {
	if fault.From(err).Reason == fault.ServerStopping {
		return // the replica is being restarted
	}
	if current := currentValue(c.cache, i.at(replica)); current != "" && current == c.current[i.key] {
		m.fail("a call of replica %d for %s fails (%v), whose current token is %s", replica, i.key, err, current)
	}
	stored := m.shared.stored(i.key)
	if stored != "" && stored == c.stored[i.key] && m.settledAt(c.began) && !m.hasReported(replica, stored, math.MaxInt) {
		made := i.find(stored)
		if c.began.Sub(made.gotAt) > time.Second && time.Until(made.End()) > operationLimit {
			m.fail("a call of replica %d for %s fails (%v), and the Store has %s", replica, i.key, err, stored)
		}
	}
	if i.isFine() {
		m.fail("a call of replica %d for %s fails (%v), and the provider answers", replica, i.key, err)
	}
}

// checkRequest checks that a token request is necessary: the replica has no token, or its token is
// due for renewal or was reported; and the replica's last request did not fail just now. If there
// was no disturbance recently, it must also be necessary if the fleet's newest token is considered
// instead. The caller must hold i.mu.
func (m *model) checkRequest(i *issuer, replica int) {
	m.note("replica %d requests a token of %s", replica, i.key)
	if failed, ok := i.failedBy[replica]; ok && failed.current == m.current(i, replica) && time.Since(failed.at) < time.Second {
		m.fail("a request of replica %d for %s follows one that failed after %v", replica, i.key, time.Since(failed.at))
	}
	if m.settledAt(i.failedAt) && time.Since(i.failedAt) < time.Second {
		m.fail("a request of the fleet for %s follows one that failed after %v", i.key, time.Since(i.failedAt))
	}
	m.mu.Lock()
	current, ok := m.replicas[replica].cache.Current(i.at(replica))
	seen := m.replicas[replica].seen[i.key]
	m.mu.Unlock()
	// A token may have arrived just before the token request was made.
	if ok && current.Value.Reveal() == seen.value && time.Since(seen.since) > time.Second {
		m.checkDue(current, replica)
	}
	if i.newest != nil && m.settledAt(i.newest.gotAt) {
		m.checkDue(i.newest.Token, replica)
	}
}

func (m *model) noteCurrent() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n, r := range m.replicas {
		for _, i := range m.issuers {
			if value := currentValue(r.cache, i.at(n)); value != r.seen[i.key].value {
				r.seen[i.key] = modelCurrent{value, time.Now()}
			}
		}
	}
}

func (m *model) checkDue(t *token.Token, replica int) {
	m.mu.Lock()
	reported := m.reports[t.Value.Reveal()]
	m.mu.Unlock()
	if !reported && time.Now().Before(t.RenewTime(0).Add(-operationLimit)) {
		m.fail("replica %d requests a token, and there is %s", replica, t.Value.Reveal())
	}
}

func (m *model) checkAgreement() {
	m.calls.Wait()
	for _, i := range m.issuers {
		if m.hasFailed() || !m.settledAt(time.Now()) || !i.isFine() {
			continue
		}
		var values []string
		for range 3 {
			<-time.After(2 * time.Second) // a renewal may be under way
			if values = m.valuesOf(i); len(slices.Compact(slices.Clone(values))) == 1 {
				break
			}
		}
		if len(slices.Compact(slices.Clone(values))) > 1 {
			m.fail("the replicas and the Store do not agree on a token of %s: %q", i.key, values)
		}
	}
}

func (m *model) valuesOf(i *issuer) (values []string) {
	for n, r := range m.replicas {
		t, err := r.cache.Token(context.Background(), i.at(n))
		if err != nil {
			m.fail("a call of replica %d for %s fails: %v", n, i.key, err)
			return nil
		}
		values = append(values, t.Value.Reveal())
	}
	return append(values, m.shared.stored(i.key))
}
