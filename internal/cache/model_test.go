package cache_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/authmaterial/broker/internal/cache"
	"github.com/authmaterial/broker/internal/fault"
)

const (
	modelReplicas = 4
	// settling is how long after the last disturbance replicas may still use different tokens: a
	// refresh may have begun during the disturbance, and the lease of a disconnected replica must
	// end first.
	settling = 20 * time.Second
)

// A model is a fleet in which random events happen, and a record of these events. An event is a
// disturbance if it may make replicas use different tokens: if a replica restarts, or if the Store
// or a replica's connection to it fails.
type model struct {
	*testing.T
	random  *rand.Rand // used only by the goroutine that runs runModel
	shared  *sharedStore
	issuers []*issuer

	mu       sync.Mutex
	replicas []*modelReplica
	calmFrom time.Time // when the last disturbances ended; zero during disturbances
	served   []modelServed
	answered []modelReport        // the answered reports that settleBans has not handled yet
	banned   map[string]time.Time // for each token, the time from which replicas must not serve it
	events   int                  // number of calls that began plus number of reports that were answered
	reports  map[string]bool      // tokens that were reported as rejected
	history  []string
	failed   bool
	calls    sync.WaitGroup
}

// A modelReplica is a replica, and a record of what its callers have received.
type modelReplica struct {
	cache    *cache.Cache
	link     *link
	reported map[string]int          // for each token, the value of model.events when its report was answered
	seen     map[string]modelCurrent // for each token key, the current token that the test saw last
}

type modelCurrent struct {
	value string
	since time.Time
}

type modelServed struct {
	issuer *issuer
	value  string
}

// TestModel runs a fleet with random events, and checks conditions that must always be true. The
// environment variable BROKER_SEED repeats a run, except for the order of events at the same
// moment. With BROKER_SOAK, the test makes 200 runs.
func TestModel(t *testing.T) {
	runs, steps := 10, 3000
	if os.Getenv("BROKER_SOAK") != "" {
		runs = 200
	}
	seed := rand.Uint64()
	if text := os.Getenv("BROKER_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
		runs = 1
	}
	for range runs {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runModel(t, seed, steps) })
		})
		seed++
	}
}

func runModel(t *testing.T, seed uint64, steps int) {
	m := &model{
		T:       t,
		random:  rand.New(rand.NewPCG(seed, 0)),
		shared:  newSharedStore(clockwork.NewRealClock()),
		banned:  map[string]time.Time{},
		reports: map[string]bool{},
	}
	m.calmFrom = time.Now()
	for i, lifetime := range []time.Duration{m.between(10, 60), m.between(60, 600), m.between(60, 600)} {
		m.issuers = append(m.issuers, &issuer{
			key: fmt.Sprintf("key%d", i), lifetime: lifetime, ends: i == 2,
			issued: map[string]*issue{}, failedBy: map[int]failedRequest{}, fineFrom: time.Now(), begin: m.checkRequest, current: m.current,
		})
	}
	for i := range modelReplicas {
		m.replicas = append(m.replicas, &modelReplica{link: m.shared.connect()})
		m.start(i)
	}
	for step := 0; step < steps && !m.hasFailed(); {
		step += m.calm() + m.storm()
	}
	m.calls.Wait()
	for _, r := range m.replicas {
		r.cache.Close()
	}
	synctest.Wait()
	requests := 0
	for _, i := range m.issuers {
		requests += len(i.issued)
	}
	t.Logf("%v of a fleet, %d tokens", time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)), requests)
}

func (m *model) between(least, most int) time.Duration {
	return time.Duration(least+m.random.IntN(most-least)) * time.Second
}

// start replaces a replica by one with an empty Cache.
func (m *model) start(i int) {
	r := m.replicas[i]
	if r.cache != nil {
		r.cache.Close()
	}
	for _, provider := range m.issuers { // this loop must end before m.mu is locked, because an issuer locks m.mu while its own mutex is locked
		provider.set(func(p *issuer) { delete(p.failedBy, i) })
	}
	jitter := m.random.Float64()
	m.mu.Lock()
	defer m.mu.Unlock()
	r.reported, r.seen = map[string]int{}, map[string]modelCurrent{}
	r.cache = cache.New(cache.Options{
		Store:    r.link,
		Random:   func() float64 { return jitter },
		Logger:   slog.New(slog.DiscardHandler),
		Versions: versionsOf,
	})
}

// note records an event. The method `fail` logs the last events.
func (m *model) note(format string, arguments ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.history = append(m.history, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, arguments...))
	m.history = m.history[max(0, len(m.history)-60):]
}

// fail logs the last events, and ends the test run.
func (m *model) fail(format string, arguments ...any) {
	m.note("WRONG: "+format, arguments...)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.failed {
		m.failed = true
		for _, line := range m.history {
			m.Log(line)
		}
		m.Fail()
	}
}

func (m *model) hasFailed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed
}

// settledAt reports whether, at the given time, the last disturbance had ended at least `settling`
// before.
func (m *model) settledAt(at time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.calmFrom.IsZero() && at.Sub(m.calmFrom) >= settling
}

// calm ends all disturbances, makes calls, and returns the number of simulated steps.
func (m *model) calm() int {
	for _, r := range m.replicas {
		r.link.become(connected)
	}
	m.shared.set(func(s *sharedStore) {
		s.newsLost, s.newsDelay = false, time.Duration(m.random.IntN(100))*time.Millisecond
		for _, l := range s.links {
			l.latency = time.Duration(m.random.IntN(5)) * time.Millisecond
			l.misread = -time.Duration(m.random.IntN(100)) * time.Millisecond
		}
	})
	// Missed makes each replica read the Store to find the changes that it missed.
	for _, r := range m.replicas {
		r.link.tell(func(news cache.News) { news.Missed() })
	}
	m.mu.Lock()
	m.calmFrom = time.Now()
	m.mu.Unlock()
	m.note("calm")
	steps := 10 + m.random.IntN(60)
	for range steps {
		m.step(false)
	}
	m.checkAgreement()
	return steps
}

// storm makes calls, causes disturbances, and returns the number of simulated steps.
func (m *model) storm() int {
	m.mu.Lock()
	m.calmFrom = time.Time{}
	m.mu.Unlock()
	m.note("storm")
	steps := 10 + m.random.IntN(60)
	for range steps {
		m.step(true)
	}
	return steps
}

func (m *model) step(stormy bool) {
	if m.hasFailed() {
		return
	}
	pauses := []time.Duration{0, time.Millisecond, 30 * time.Millisecond, 300 * time.Millisecond, 3 * time.Second, 10 * time.Second, 45 * time.Second}
	<-time.After(time.Duration(m.random.Float64() * float64(pauses[m.random.IntN(len(pauses))])))
	m.settleBans()
	m.noteCurrent()
	issuer := m.issuers[m.random.IntN(len(m.issuers))]
	replica := m.random.IntN(len(m.replicas))
	switch n := m.random.IntN(20); {
	case n < 10:
		for range 1 + m.random.IntN(5) {
			m.calls.Go(func() { m.get(issuer, replica) })
		}
	case n < 12:
		for r := range m.replicas {
			m.calls.Go(func() { m.get(issuer, r) })
		}
	case n < 15:
		m.report()
	case n < 16:
		m.disturbIssuer(issuer)
	case n < 17:
		m.note("%s revokes", issuer.key)
		issuer.revoke()
	case stormy:
		m.disturb(replica)
	}
}

func (m *model) disturb(replica int) {
	link := m.replicas[replica].link
	switch n := m.random.IntN(10); {
	case n < 4:
		state := linkState(m.random.IntN(4))
		m.note("link of replica %d: %d", replica, state)
		link.become(state)
	case n < 6:
		state := linkState(m.random.IntN(4))
		m.note("all links: %d", state)
		for _, r := range m.replicas {
			r.link.become(state)
		}
	case n < 7:
		m.note("the Store is emptied")
		m.shared.empty()
	case n < 8:
		m.note("leases end")
		m.shared.endLeases()
	case n < 9:
		lost := m.random.IntN(2) == 0
		m.note("news is lost: %v", lost)
		m.shared.set(func(s *sharedStore) { s.newsLost, s.newsDelay = lost, time.Second })
	default:
		m.note("replica %d restarts", replica)
		m.start(replica)
	}
}

func (m *model) disturbIssuer(i *issuer) {
	latency := []time.Duration{0, 50 * time.Millisecond, 200 * time.Millisecond, time.Second, 5 * time.Second, time.Minute}[m.random.IntN(6)]
	var failure *fault.Error
	if m.random.IntN(3) == 0 {
		failure = unavailable
	}
	m.note("%s takes %v, and fails with %v", i.key, latency, failure)
	i.set(func(i *issuer) {
		fine := failure == nil && latency <= time.Second
		switch {
		case !fine:
			i.fineFrom = time.Time{}
		case i.fineFrom.IsZero():
			i.fineFrom = time.Now()
		}
		i.latency, i.failure = latency, failure
	})
}

func (m *model) get(i *issuer, replica int) {
	c := m.look(replica)
	t, err := c.cache.Token(context.Background(), i.at(replica))
	m.checkDuration(i, replica, c, t)
	if err != nil {
		m.checkFailure(i, replica, c, err)
		return
	}
	m.checkServed(i, replica, c, t)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.served = append(m.served, modelServed{i, t.Value.Reveal()})
	m.served = m.served[max(0, len(m.served)-10):]
}

// report reports a token that a caller received recently, if the provider rejects it, and sometimes
// even if the provider accepts it.
func (m *model) report() {
	m.mu.Lock()
	count := len(m.served)
	if count == 0 {
		m.mu.Unlock()
		return
	}
	served := m.served[m.random.IntN(count)]
	m.mu.Unlock() // the issuer locks m.mu while its own mutex is locked
	replica := m.random.IntN(len(m.replicas))
	if m.random.IntN(10) == 0 || !served.issuer.accepts(served.value) {
		m.calls.Go(func() { m.reportTo(replica, served) })
	}
}

func (m *model) reportTo(replica int, s modelServed) {
	c := m.look(replica)
	m.note("report of %s to replica %d", s.value, replica)
	m.mu.Lock()
	m.reports[s.value] = true
	m.mu.Unlock()
	t, _, err := c.cache.Replace(context.Background(), s.issuer.at(replica), s.value)
	if err != nil {
		return
	}
	m.note("report of %s to replica %d is answered %s", s.value, replica, t.Value.Reveal())
	m.checkServed(s.issuer, replica, c, t)
	m.noteReport(s, replica, c, t)
}
