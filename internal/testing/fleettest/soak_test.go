package fleettest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// soakLife is the lifetime of tokens in the soak test, a long test with random faults.
const soakLife = 6 * time.Second

type soak struct {
	*testing.T
	*ledger

	server  *redistest.Server
	proxy   *redistest.FaultProxy // half of the brokers connect to Redis through this proxy
	random  *rand.Rand
	alone   bool           // no other test runs at the same time, so this test may use all CPU cores
	callers sync.WaitGroup // callers that report valid tokens, as falseReport describes
	watches map[*fleettest.Broker]*fleettest.Watch
	stops   map[*fleettest.Broker]bool // brokers that a fault has killed or suspended
	peak    int64                      // highest memory use of a broker so far
}

// soakTime returns how long the soak test runs. The environment variable BROKER_SOAK contains the
// duration of the test in minutes, and the default is 12 seconds.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("BROKER_SOAK")
	if text == "" {
		return 12 * time.Second
	}
	minutes, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatalf("BROKER_SOAK=%q is not a number of minutes", text)
	}
	return time.Duration(minutes * float64(time.Minute))
}

// soakSeed returns the seed of the random faults. BROKER_SEED repeats the faults of an earlier run.
func soakSeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("BROKER_SEED")
	if text == "" {
		return rand.Uint64()
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("BROKER_SEED=%q is not a number", text)
	}
	return seed
}

func newSoak(t *testing.T, seed uint64) *soak {
	t.Helper()
	s := &soak{
		T: t, server: redistest.Start(t), random: rand.New(rand.NewPCG(seed, 0)),
		watches: map[*fleettest.Broker]*fleettest.Watch{}, stops: map[*fleettest.Broker]bool{},
	}
	s.proxy = redistest.Proxy(t, s.server.Addr())
	fleet := fleettest.Start(t, fleettest.Options{
		Redis: oneRedis(s.server), Brokers: 4, Credentials: 6, Lifetime: soakLife,
		Change: func(broker int, configuration map[string]any) {
			cache := configuration["token_cache"].(map[string]any)
			cache["forced_renewals"] = map[string]any{"limit": 100, "window": "1m"}
			if broker%2 == 1 {
				cache["redis"] = map[string]any{"url": "redis://" + s.proxy.Addr()}
			}
		},
	})
	s.ledger = newLedger(fleet)
	warm(t, fleet)
	for _, b := range fleet.Brokers {
		s.watches[b] = fleet.Watch(b)
	}
	return s
}

// TestSoak causes faults of Redis, the brokers, the provider, the secrets, the clocks and the
// machine. No caller may receive a token that has expired or was reported. A call may fail only if
// the broker could not answer it. The provider must not receive more token requests than the faults
// explain, and no broker may use too much memory.
func TestSoak(t *testing.T) {
	t.Parallel()
	seed, length := soakSeed(t), soakTime(t)
	t.Logf("set BROKER_SEED=%d to repeat these faults", seed)
	s := newSoak(t, seed)
	s.alone = os.Getenv("BROKER_SOAK") != ""
	load := s.startLoad()
	rounds := 0
	for began := time.Now(); time.Since(began) < length && !t.Failed(); rounds++ {
		s.round(load, s.schedule)
	}
	load.Stop()
	t.Logf("%d rounds, %d token requests, %d MiB at most; %v", rounds, s.fleet.Provider.TotalTokenRequests(), s.peak>>20, load)
}

func (s *soak) startLoad() *fleettest.Load {
	return s.fleet.StartLoad(fleettest.LoadOptions{Callers: 6, Pause: 60 * time.Millisecond, Check: s.check})
}

// `round` causes randomly selected faults, ends them, and waits until the fleet is healthy.
func (s *soak) round(load *fleettest.Load, draw func(*cost) []action) {
	s.Helper()
	before := map[string]int{}
	for _, c := range s.fleet.Credentials {
		before[c.ID] = s.fleet.Provider.TokenRequests(c.Client.ID)
	}
	c := newCost(len(s.fleet.Brokers))
	actions := draw(c)
	slices.SortStableFunc(actions, func(a, b action) int { return int(a.after - b.after) })
	var story []string
	outcome := "the fleet did not recover"
	defer func() { s.Logf("%s; %s", strings.Join(story, ", "), outcome) }()
	for _, next := range append(actions, c.finally...) {
		<-time.After(next.after - time.Since(c.began))
		story = append(story, fmt.Sprintf("%v %s", time.Since(c.began).Round(time.Millisecond), next.what))
		next.do()
	}
	s.callers.Wait()
	well := s.awaitWell()
	if limit := c.recovery(); well > limit {
		s.Errorf("the fleet was healthy %v after the last fault, want %v at most", well, limit)
	}
	outcome = fmt.Sprintf("the fleet was healthy %v later: %s", well.Round(time.Millisecond), s.checkRequests(c, before))
	s.checkMemory()
	if err := load.Err(); err != nil {
		s.Error(err)
	}
}

// checkRequests checks that the fleet made no more token requests for a credential in this round
// than the faults explain. The result describes the credential with the most requests.
func (s *soak) checkRequests(c *cost, before map[string]int) string {
	s.Helper()
	most, limit, which := 0, 0, ""
	for _, credential := range s.fleet.Credentials {
		got, allowed := s.fleet.Provider.TokenRequests(credential.Client.ID)-before[credential.ID], c.limit(credential.ID)
		if got > allowed {
			s.Errorf("%s: %d token requests in this round, want %d at most", credential.ID, got, allowed)
		}
		if got >= most {
			most, limit, which = got, allowed, credential.ID
		}
	}
	return fmt.Sprintf("%d token requests of %s, %d at most", most, which, limit)
}

func (s *soak) checkMemory() {
	s.Helper()
	for _, b := range s.fleet.Brokers {
		peak, err := b.PeakMemory()
		if err != nil {
			s.Error(err)
		}
		if peak > mostMemory {
			s.Errorf("%s has used %d MiB of memory, want %d MiB at most", b.Name, peak>>20, mostMemory>>20)
		}
		s.peak = max(s.peak, peak)
	}
}

// awaitWell waits until the fleet is healthy, and returns how long it waited. A healthy fleet has
// no degraded broker, and all brokers serve the same tokens, which the provider accepts and which
// the watchers have received.
func (s *soak) awaitWell() time.Duration {
	s.Helper()
	for _, b := range s.fleet.Brokers {
		if !slices.Contains(s.fleet.Running(), b) {
			s.Fatalf("%s has ended", b.Name)
		}
	}
	took := s.fleet.Await("the fleet is healthy", func() error {
		if err := s.checkForeign(); err != nil {
			return err
		}
		for _, b := range s.fleet.Brokers {
			if degraded, err := b.Degraded(); err != nil || degraded {
				return errors.Join(fmt.Errorf("%s is degraded: %v", b.Name, degraded), err)
			}
		}
		for _, c := range s.fleet.Credentials {
			first := ""
			for i, b := range s.fleet.Brokers {
				answer := s.fleet.Ask(b, i, c)
				if err := s.fleet.Check(answer); err != nil {
					return fmt.Errorf("a call to %s failed its check: %w", b.Name, err)
				}
				if got := bearer(answer.Decoration); first == "" {
					first = got
				} else if got != first {
					return fmt.Errorf("%s serves another token for %s than the first broker", b.Name, c.ID)
				}
				if s.watches[b].Version(c.ID) != answer.Decoration.GetVersion() {
					return fmt.Errorf("%s has not sent its token for %s to the watches", b.Name, c.ID)
				}
			}
		}
		return nil
	})
	s.redis.end()
	s.lies.end()
	s.held.end()
	s.busy.end()
	for _, b := range s.fleet.Brokers {
		s.stopped[b].end()
	}
	for _, rotating := range s.rotating {
		rotating.end()
	}
	return took
}
