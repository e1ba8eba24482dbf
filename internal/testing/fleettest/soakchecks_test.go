package fleettest_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/testing/fleettest"
)

// ledger records the faults of a soak test and the answers of the brokers, to tell which answers
// are allowed. A ledger is safe for concurrent use.
type ledger struct {
	fleet *fleettest.Fleet

	// spans are the periods in which Redis, the provider or the machine did not work normally. A
	// provider whose answers were held back counts as failing until the brokers call it again. In
	// the periods in the field `lies`, wrong replies replaced those of Redis.
	redis, lies, provider, held, busy spans
	down, stopped                     map[*fleettest.Broker]*spans // periods in which the broker's process was killed or suspended
	rotating                          map[string]*spans            // periods in which a secret was rotated, by credential

	time   *shifts                       // changes of the clocks of the provider and Redis
	clocks map[*fleettest.Broker]*shifts // changes of each broker's wall clock

	mu     sync.Mutex
	told   map[string][]fleettest.Report                    // answered reports of each version
	served map[string]map[*fleettest.Broker]map[string]good // valid tokens by credential, broker and version
}

// `good` is a valid token that a broker served.
type good struct {
	at      time.Time // when the caller received the answer
	expires time.Time // when the token expires, by the provider's clock
}

func newLedger(f *fleettest.Fleet) *ledger {
	l := &ledger{
		fleet: f, down: map[*fleettest.Broker]*spans{}, stopped: map[*fleettest.Broker]*spans{}, rotating: map[string]*spans{},
		time: new(shifts), clocks: map[*fleettest.Broker]*shifts{},
		told: map[string][]fleettest.Report{}, served: map[string]map[*fleettest.Broker]map[string]good{},
	}
	for _, b := range f.Brokers {
		l.down[b], l.stopped[b], l.clocks[b] = new(spans), new(spans), new(shifts)
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

// check returns an error if an answer is not allowed. If the provider rejects its token, check also
// reports the token to the broker.
func (l *ledger) check(a fleettest.Answer) error {
	ended := a.Began.Add(a.Took)
	if a.Err != nil {
		return l.checkFailure(a.Broker, a.Credential, a.Err, a.Began, ended)
	}
	token, ok := l.fleet.Provider.Token(a.Decoration)
	if !ok || token.ClientID != a.Credential.Client.ID {
		return errors.New("the caller received a decoration without a token of the credential's client")
	}
	if err := errors.Join(l.checkLife(a, token, ended), l.checkWithdrawn(a, ended)); err != nil {
		return err
	}
	l.note(a, token, ended)
	if l.fleet.Provider.Accepts(a.Decoration, a.Credential.Client) {
		return nil
	}
	return l.report(a)
}

// soakMargin is the safety margin of the tokens. During the safety margin of a token, callers
// receive the token only if there is no other.
const soakMargin = soakLife / 10

// inexactness is the longest time for which a replica may still consider an expired token valid,
// because Redis counts time in whole milliseconds.
const inexactness = 10 * time.Millisecond

// checkLife returns an error if the token had expired at the provider before the call began, or if
// the expire_time of the answer is wrong. By the broker's clock the expire_time must be in the
// future, less than a token lifetime ahead, and not after the token's end at the provider.
func (l *ledger) checkLife(a fleettest.Answer, token simulator.Token, ended time.Time) error {
	late := l.lastResort(token, a.Began, ended)
	if !token.ExpireTime.Add(late).After(l.time.earliest(a.Began, a.Began)) {
		return errors.New("the caller received an expired token")
	}
	clock, expires := l.clocks[a.Broker], a.Decoration.GetExpireTime().AsTime().Add(soakMargin)
	earliest, latest := clock.earliest(a.Began, ended), clock.latest(a.Began, ended)
	if past := earliest.Sub(expires); past >= late {
		return fmt.Errorf("the caller received an expire_time that is %v in the past", past.Round(time.Second))
	}
	if ahead := expires.Sub(latest); ahead > soakLife {
		return fmt.Errorf("the caller received an expire_time that is %v in the future, more than a lifetime", ahead.Round(time.Second))
	}
	left := token.ExpireTime.Sub(l.time.earliest(a.Began, ended)) + ended.Sub(a.Began)
	if more := expires.Sub(latest) - left; more > inexactness {
		return fmt.Errorf("the caller received an expire_time that is %v after the end of the token at the provider", more.Round(100*time.Millisecond))
	}
	return nil
}

// lastResort returns how long after the end of a token a broker may serve it if the broker gets no
// other token. The broker does not know when the provider issued the token. It counts the lifetime
// from the answer to the token request, so it may serve the token too long by the duration of the
// request.
func (l *ledger) lastResort(token simulator.Token, from, to time.Time) time.Duration {
	if !l.provider.touches(from, to) && !l.held.touches(from, to) && !l.busy.touches(from, to) {
		return 0
	}
	issuedAt := token.ExpireTime.Add(-soakLife)
	issued := l.time.when(issuedAt)
	answered := issued.Add(l.expiring(issued, issued))
	for _, delay := range append(slices.Collect(maps.Values(l.stopped)), &l.held) {
		delays, until := delay.touch(issued, answered)
		switch {
		case delays && until.IsZero():
			answered = to
		case delays && until.After(answered):
			answered = until
		}
	}
	return l.time.latest(answered, answered).Sub(issuedAt)
}

func (l *ledger) report(a fleettest.Answer) error {
	began := time.Now()
	report := l.fleet.Report(a.Broker, 0, a.Credential, a.Decoration.GetVersion())
	if report.Err != nil {
		for _, trouble := range []*spans{l.down[a.Broker], &l.provider, &l.held, &l.lies} {
			if trouble.touches(began, report.Ended) {
				return nil
			}
		}
		if l.asleep(a.Broker, report.Err, began, report.Ended) {
			return nil
		}
		return errors.New("the report of a rejection failed with " + fleettest.Describe(report.Err))
	}
	if report.Decoration.GetVersion() == report.Version {
		return errors.New("the answer to a report contains the reported version")
	}
	token, ok := l.fleet.Provider.Token(report.Decoration)
	if !ok || !token.ExpireTime.Add(l.lastResort(token, began, report.Ended)).After(l.time.earliest(began, began)) {
		return errors.New("the caller received an expired token in the answer to a report")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told[report.Version] = append(l.told[report.Version], report)
	return nil
}

// checkWithdrawn returns an error if the answer contains a version that was reported earlier. After
// a report to the same process, no call may receive the reported version. After a report to another
// process, calls may receive the reported version for a second. If Redis fails or this process is
// suspended meanwhile, the second begins again when Redis or the process works again.
func (l *ledger) checkWithdrawn(a fleettest.Answer, ended time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, told := range l.told[a.Decoration.GetVersion()] {
		if told.Broker == a.Broker && a.Began.After(told.Ended) && !l.down[a.Broker].touches(told.Ended, ended) {
			return errors.New("the caller received a version that was reported to the same broker before")
		}
		since := told.Ended
		for _, trouble := range []*spans{&l.redis, l.stopped[a.Broker]} {
			if unwell, until := trouble.touch(told.Ended, ended); unwell && until.IsZero() {
				since = ended
			} else if unwell && until.After(since) {
				since = until
			}
		}
		if a.Began.Sub(since) > l.newsLimit(told.Ended, ended) && !l.rotating[a.Credential.ID].touches(told.Ended, ended) {
			return errors.New("the caller received a version that was reported to another broker, although the report had time to reach this broker")
		}
	}
	return nil
}

// newsLimit returns how long a replica may serve a version that was reported to another replica,
// which is longer if processes had to wait for the CPU.
func (l *ledger) newsLimit(from, to time.Time) time.Duration {
	if l.busy.touches(from, to) {
		return 3 * time.Second
	}
	return time.Second
}

func (l *ledger) note(a fleettest.Answer, token simulator.Token, ended time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.served[a.Credential.ID][a.Broker]
	if _, ok := known[a.Decoration.GetVersion()]; !ok {
		known[a.Decoration.GetVersion()] = good{at: ended, expires: token.ExpireTime}
	}
	for version, old := range known {
		if l.time.earliest(ended, ended).Sub(old.expires) > time.Minute {
			delete(known, version)
		}
	}
}

// expiring returns how much earlier than the provider a broker may consider a token expired. The
// difference is the duration of the token request, and of each reading from Redis on the way of the
// token to this broker. Processes that wait for the CPU make both durations longer.
func (l *ledger) expiring(from, to time.Time) time.Duration {
	if l.busy.touches(from.Add(-soakLife), to) {
		return 8 * reading
	}
	return 4 * reading
}

// checkFailure returns an error if a call failed although the broker could have answered it. A
// running broker can answer if the provider is healthy, or if a valid token is in the broker's
// memory or in Redis.
func (l *ledger) checkFailure(b *fleettest.Broker, c fleettest.Credential, err error, began, ended time.Time) error {
	fault := fleettest.FaultOf(err)
	if l.down[b].touches(began, ended) && fault.Reason == "" {
		return nil
	}
	if l.asleep(b, err, began, ended) {
		return nil
	}
	if !mayFail(fault.Reason) || !l.provider.touches(began, ended) {
		return fmt.Errorf("the call failed: %s", fleettest.Describe(err))
	}
	now, allowed := l.time.latest(ended, ended), l.expiring(began, ended)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, other := range l.fleet.Brokers {
		for version, has := range l.served[c.ID][other] {
			left := has.expires.Sub(now)
			if left < allowed || !has.at.Before(began) || len(l.told[version]) > 0 {
				continue
			}
			lost := l.down[b].touches(has.at, ended) || l.clocks[b].touches(has.at, ended)
			if other == b && !lost {
				return fmt.Errorf("the call for %s failed although the broker has a token that is valid for %v; the error is %s",
					c.ID, left.Round(100*time.Millisecond), fleettest.Describe(err))
			}
			if !l.redis.touches(has.at, ended) && !l.rotating[c.ID].touches(has.at, ended) {
				return fmt.Errorf("the call for %s failed although Redis has a token that is valid for %v; the error is %s",
					c.ID, left.Round(100*time.Millisecond), fleettest.Describe(err))
			}
		}
	}
	return nil
}

// asleep reports whether a call may have failed because the machine slept or the broker's clock was
// set forward during the call, so that the token for which the call waited had expired when the
// broker received it.
func (l *ledger) asleep(b *fleettest.Broker, err error, began, ended time.Time) bool {
	return fleettest.FaultOf(err).Reason == "PROVIDER_UNAVAILABLE" && l.clocks[b].touches(began, ended)
}

// mayFail reports whether a call may fail with the given reason while the provider fails.
func mayFail(reason string) bool {
	return reason == "PROVIDER_UNAVAILABLE" || reason == "PROVIDER_RATE_LIMITED"
}
