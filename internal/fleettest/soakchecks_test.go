package fleettest_test

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/fleettest"
)

// ledger is what happened in a soak, and what callers were told: enough to say of each
// answer whether it may be. It is safe for concurrent use.
type ledger struct {
	fleet *fleettest.Fleet

	// When something was not as it should be, until all was as before. The provider is not
	// until the brokers have to ask it again.
	redis, provider spans
	down, stopped   map[*fleettest.Broker]*spans // the process was killed, or stopped
	rotating        map[string]*spans            // by credential

	mu     sync.Mutex
	told   map[string][]fleettest.Report                    // reports that were answered, by version
	served map[string]map[*fleettest.Broker]map[string]good // by credential and version
}

// good is a token that a broker served.
type good struct {
	at      time.Time // when the caller had the answer
	expires time.Time // by the provider's clock
}

func newLedger(f *fleettest.Fleet) *ledger {
	l := &ledger{
		fleet: f, down: map[*fleettest.Broker]*spans{}, stopped: map[*fleettest.Broker]*spans{}, rotating: map[string]*spans{},
		told: map[string][]fleettest.Report{}, served: map[string]map[*fleettest.Broker]map[string]good{},
	}
	for _, b := range f.Brokers {
		l.down[b], l.stopped[b] = new(spans), new(spans)
	}
	for _, c := range f.Credentials {
		l.rotating[c.ID] = new(spans)
		l.served[c.ID] = map[*fleettest.Broker]map[string]good{}
		for _, b := range f.Brokers {
			l.served[c.ID][b] = map[string]good{}
		}
	}
	return l
}

// check checks an answer. A caller whose token the provider rejects reports it.
func (l *ledger) check(a fleettest.Answer) error {
	ended := a.Began.Add(a.Took)
	if a.Err != nil {
		return l.checkFailure(a.Broker, a.Credential, a.Err, a.Began, ended)
	}
	token, ok := l.fleet.Provider.Token(a.Decoration)
	switch {
	case !ok || token.ClientID != a.Credential.Client.ID:
		return errors.New("gets what is no token of its client")
	case !token.ExpireTime.After(a.Began):
		return errors.New("gets an expired token")
	}
	if err := l.checkWithdrawn(a, ended); err != nil {
		return err
	}
	l.note(a, token, ended)
	if l.fleet.Provider.Accepts(a.Decoration, a.Credential.Client) {
		return nil
	}
	return l.report(a)
}

// report reports what the provider rejects.
func (l *ledger) report(a fleettest.Answer) error {
	began := time.Now()
	report := l.fleet.Report(a.Broker, 0, a.Credential, a.Decoration.GetVersion())
	if report.Err != nil {
		if l.down[a.Broker].touches(began, report.Ended) || l.provider.touches(began, report.Ended) {
			return nil
		}
		return errors.New("cannot report: " + fleettest.Describe(report.Err))
	}
	if report.Decoration.GetVersion() == report.Version {
		return errors.New("is told the version that it reports")
	}
	if token, ok := l.fleet.Provider.Token(report.Decoration); !ok || !token.ExpireTime.After(began) {
		return errors.New("gets an expired token for a report")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told[report.Version] = append(l.told[report.Version], report)
	return nil
}

// checkWithdrawn returns an error when the version was reported: to the same process, or
// to another a second ago, not counting the time until Redis was well.
func (l *ledger) checkWithdrawn(a fleettest.Answer, ended time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, told := range l.told[a.Decoration.GetVersion()] {
		if told.Broker == a.Broker && a.Began.After(told.Ended) && !l.down[a.Broker].touches(told.Ended, ended) {
			return errors.New("gets what was reported to that broker before")
		}
		since := told.Ended
		for _, trouble := range []*spans{&l.redis, l.stopped[a.Broker]} {
			if unwell, until := trouble.touch(told.Ended, ended); unwell && until.IsZero() {
				since = ended
			} else if unwell && until.After(since) {
				since = until
			}
		}
		if a.Began.Sub(since) > time.Second && !l.rotating[a.Credential.ID].touches(told.Ended, ended) {
			return errors.New("gets what was reported to another broker more than a second before")
		}
	}
	return nil
}

// note keeps in mind that a broker has a token.
func (l *ledger) note(a fleettest.Answer, token simulator.Token, ended time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.served[a.Credential.ID][a.Broker]
	if _, ok := known[a.Decoration.GetVersion()]; !ok {
		known[a.Decoration.GetVersion()] = good{at: ended, expires: token.ExpireTime}
	}
	for version, old := range known {
		if time.Since(old.expires) > time.Minute {
			delete(known, version)
		}
	}
}

// expiring is how long before the provider a broker may take a token for expired: as long
// as its request was under way, and as it took to read the token in Redis; more than once
// where one that had read it put it back there.
const expiring = 4 * reading

// checkFailure returns an error when a call should not have failed: the broker ran, and
// the provider was well or somebody had a token that the broker had, or found in Redis.
func (l *ledger) checkFailure(b *fleettest.Broker, c fleettest.Credential, err error, began, ended time.Time) error {
	fault := fleettest.FaultOf(err)
	if l.down[b].touches(began, ended) && fault.Reason == "" {
		return nil
	}
	if fault.Reason != "PROVIDER_UNAVAILABLE" || !l.provider.touches(began, ended) {
		return errors.New("fails with " + fleettest.Describe(err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, other := range l.fleet.Brokers {
		for version, has := range l.served[c.ID][other] {
			if has.expires.Sub(ended) < expiring || !has.at.Before(began) || len(l.told[version]) > 0 {
				continue
			}
			if other == b && !l.down[b].touches(has.at, ended) {
				return fmt.Errorf("of %s fails though the broker has a token for %v yet, with %s",
					c.ID, has.expires.Sub(ended).Round(100*time.Millisecond), fleettest.Describe(err))
			}
			if !l.redis.touches(has.at, ended) && !l.rotating[c.ID].touches(has.at, ended) {
				return fmt.Errorf("of %s fails though Redis has a token for %v yet, with %s",
					c.ID, has.expires.Sub(ended).Round(100*time.Millisecond), fleettest.Describe(err))
			}
		}
	}
	return nil
}
