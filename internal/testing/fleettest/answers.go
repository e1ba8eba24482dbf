package fleettest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Answers collects the answers that callers received. The methods of Answers are safe for
// concurrent use.
type Answers struct {
	fleet *Fleet
	check func(Answer) error

	mu       sync.Mutex
	waits    []time.Duration
	failures map[string]int                // number of occurrences of each failure text
	brokers  []*Broker                     // all brokers that were called
	versions map[string][]string           // versions of each credential, in the order of first receipt
	latest   map[*Broker]map[string]latest // latest answer of each broker for each credential
	changed  chan struct{}                 // closed when `latest` changes
}

// latest describes the most recent call to a broker for a credential.
type latest struct {
	version string
	began   time.Time
}

func newAnswers(f *Fleet, brokers []*Broker, check func(Answer) error) *Answers {
	a := &Answers{
		fleet: f, check: check, brokers: brokers,
		failures: map[string]int{}, versions: map[string][]string{}, latest: map[*Broker]map[string]latest{},
		changed: make(chan struct{}),
	}
	for _, b := range brokers {
		a.latest[b] = map[string]latest{}
	}
	return a
}

func (a *Answers) add(answer Answer) {
	wrong := a.check(answer)
	id, version := answer.Credential.ID, answer.Decoration.GetVersion()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waits = append(a.waits, answer.Took)
	if wrong != nil {
		a.failures[fmt.Sprintf("a call to %s failed its check: %v", answer.Broker.Name, wrong)]++
	}
	known := a.latest[answer.Broker][id]
	if answer.Err != nil || answer.Began.Before(known.began) {
		return
	}
	a.latest[answer.Broker][id] = latest{version, answer.Began}
	if version == known.version {
		return
	}
	if !slices.Contains(a.versions[id], version) {
		a.versions[id] = append(a.versions[id], version)
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

// Err returns each kind of failure with the number of its occurrences, or nil if all answers were
// correct.
func (a *Answers) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []error
	for _, what := range slices.Sorted(maps.Keys(a.failures)) {
		all = append(all, fmt.Errorf("%d times: %s", a.failures[what], what))
	}
	return errors.Join(all...)
}

// Calls returns the number of ended calls, including failed ones.
func (a *Answers) Calls() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.waits)
}

// Wait returns a quantile of the times that callers waited for their answers: the longest for q =
// 1, the median for q = 0.5.
func (a *Answers) Wait(q float64) time.Duration {
	a.mu.Lock()
	waits := slices.Clone(a.waits)
	a.mu.Unlock()
	if len(waits) == 0 {
		return 0
	}
	slices.Sort(waits)
	return waits[max(0, int(q*float64(len(waits)))-1)]
}

// String returns the number of calls and the waiting times as text.
func (a *Answers) String() string {
	return fmt.Sprintf("%d calls; waiting times: median %v, p99 %v, longest %v", a.Calls(),
		a.Wait(0.5).Round(time.Microsecond), a.Wait(0.99).Round(time.Microsecond), a.Wait(1).Round(time.Microsecond))
}

// Versions returns how many versions of a credential callers received.
func (a *Answers) Versions(credential string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.versions[credential])
}

// Version returns the newest version of a credential: of all versions that callers have received,
// the one that appeared last.
func (a *Answers) Version(credential string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if all := a.versions[credential]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// AwaitAgreement waits until callers have received at least n versions of each credential, and the
// latest answers of all brokers contain the same versions. AwaitAgreement returns how long it
// waited.
func (a *Answers) AwaitAgreement(n int) time.Duration {
	a.fleet.t.Helper()
	began := time.Now()
	late := time.After(Patience)
	for {
		changed, missing := a.agreement(n)
		if missing == nil {
			return time.Since(began)
		}
		select {
		case <-changed:
		case <-late:
			a.fleet.t.Fatalf("after %v the brokers do not serve the same versions: %v", Patience, missing)
		}
	}
}

// agreement returns an error if brokers serve different versions, and a channel that is closed when
// a new answer may have changed the result.
func (a *Answers) agreement(n int) (changed <-chan struct{}, missing error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.fleet.Credentials {
		if got := len(a.versions[c.ID]); got < n {
			return a.changed, fmt.Errorf("%s: callers received %d versions, want %d", c.ID, got, n)
		}
		for _, b := range a.brokers {
			if a.latest[b][c.ID].version != a.latest[a.brokers[0]][c.ID].version {
				return a.changed, fmt.Errorf("%s: %s and %s serve different versions", c.ID, b.Name, a.brokers[0].Name)
			}
		}
	}
	return nil, nil
}
