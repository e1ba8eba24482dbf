package fleettest_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/fleettest"
	"github.com/authmaterial/broker/internal/redistest"
)

// soakLife is how long tokens live in a soak.
const soakLife = 6 * time.Second

// soak is a fleet under load to which one thing happens after another, at random.
type soak struct {
	*testing.T
	*ledger

	server  *redistest.Server
	random  *rand.Rand
	callers sync.WaitGroup // beside those of the load
}

// soakTime is how long a soak takes: BROKER_SOAK minutes.
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

// soakSeed is BROKER_SEED, which has the same faults happen again, or a random number.
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

// Whatever happens to Redis, the brokers, the provider and the secrets, together or one
// after another: no caller gets an expired token, or one that was reported; none fails that
// could be answered; and the provider has no more token requests than the faults explain.
func TestSoak(t *testing.T) {
	t.Parallel()
	seed, length := soakSeed(t), soakTime(t)
	s := &soak{T: t, server: redistest.Start(t), random: rand.New(rand.NewPCG(seed, 0))}
	fleet := fleettest.Start(t, fleettest.Options{
		Redis: oneRedis(s.server), Brokers: 4, Credentials: 6, Lifetime: soakLife,
		Change: func(_ int, configuration map[string]any) {
			configuration["token_cache"].(map[string]any)["forced_renewals"] = map[string]any{"limit": 100, "window": "1m"}
		},
	})
	t.Logf("BROKER_SEED=%d has the same faults happen again", seed)
	s.ledger = newLedger(fleet)
	warm(t, fleet)
	load := fleet.StartLoad(fleettest.LoadOptions{Callers: 6, Pause: 60 * time.Millisecond, Check: s.check})
	rounds := 0
	for began := time.Now(); time.Since(began) < length && !t.Failed(); rounds++ {
		s.round()
		if err := load.Err(); err != nil {
			t.Error(err)
		}
	}
	load.Stop()
	t.Logf("%d rounds, %d token requests; %v", rounds, fleet.Provider.TotalTokenRequests(), load)
}

// round has some faults happen, ends them, and waits until all is well.
func (s *soak) round() {
	s.Helper()
	before := map[string]int{}
	for _, c := range s.fleet.Credentials {
		before[c.ID] = s.fleet.Provider.TokenRequests(c.Client.ID)
	}
	c := &cost{began: time.Now(), processes: len(s.fleet.Brokers), reported: map[string]int{}, rotated: map[string]int{}}
	actions := s.schedule(c)
	var story []string
	for _, next := range append(actions, c.finally...) {
		<-time.After(next.after - time.Since(c.began))
		story = append(story, fmt.Sprintf("%v %s", time.Since(c.began).Round(time.Millisecond), next.what))
		next.do()
	}
	s.callers.Wait()
	well := s.awaitWell()
	if limit := c.recovery(); well > limit {
		s.Errorf("all is well %v after the last fault, want %v at most", well, limit)
	}
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
	s.Logf("%s; all is well %v later: %d token requests of %s, %d at most", strings.Join(story, ", "), well.Round(time.Millisecond), most, which, limit)
}

// awaitWell waits until no broker is degraded, and all have the same tokens, which the
// provider accepts. It returns how long that took.
func (s *soak) awaitWell() time.Duration {
	s.Helper()
	took := s.fleet.Await("all is well", func() error {
		for _, b := range s.fleet.Brokers {
			if degraded, err := b.Degraded(); err != nil || degraded {
				return fmt.Errorf("%s is degraded: %v, %w", b.Name, degraded, err)
			}
		}
		for _, c := range s.fleet.Credentials {
			first := ""
			for i, b := range s.fleet.Brokers {
				answer := s.fleet.Ask(b, i, c)
				if err := s.fleet.Check(answer); err != nil {
					return fmt.Errorf("a caller of %s %w", b.Name, err)
				}
				if got := bearer(answer.Decoration); first == "" {
					first = got
				} else if got != first {
					return fmt.Errorf("%s has another token of %s than the first broker", b.Name, c.ID)
				}
			}
		}
		return nil
	})
	s.redis.end()
	for _, b := range s.fleet.Brokers {
		s.stopped[b].end()
	}
	for _, rotating := range s.rotating {
		rotating.end()
	}
	return took
}
