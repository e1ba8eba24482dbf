package fleettest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

const (
	lostLine = "Redis is out of reach: each replica obtains tokens for itself"
	backLine = "Redis is back: the replicas share tokens again"
)

// `trouble` is a fleet with traffic whose Redis fails.
type trouble struct {
	*testing.T
	fleet  *fleettest.Fleet
	redis  *redistest.Server
	load   *fleettest.Load
	before map[*fleettest.Broker]map[string]int // token requests before Redis failed, by broker and credential
	watch  func() (asked int, err error)
}

func newTrouble(t *testing.T) *trouble {
	t.Helper()
	server := redistest.Start(t)
	fleet := fleettest.Start(t, fleettest.Options{Redis: oneRedis(server)})
	fleet.AwaitSameTokens()
	tr := &trouble{
		T: t, fleet: fleet, redis: server, load: fleet.StartLoad(fleettest.LoadOptions{}),
		before: map[*fleettest.Broker]map[string]int{}, watch: fleet.WatchReadiness(),
	}
	for _, b := range fleet.Brokers {
		tr.before[b] = b.TokenRequests()
	}
	return tr
}

// sinceBefore returns the number of token requests since Redis failed: the total, and the highest
// number that one broker made for one credential.
func (tr *trouble) sinceBefore() (total, most int, who string) {
	tr.Helper()
	for _, b := range tr.fleet.Brokers {
		for id, made := range b.TokenRequests() {
			total += made - tr.before[b][id]
			if most < made-tr.before[b][id] {
				most, who = made-tr.before[b][id], b.Name+" for "+id
			}
		}
	}
	return total, most, who
}

// renewAlone waits until every broker has renewed every token by itself, and then starts a further
// broker and calls it.
func (tr *trouble) renewAlone() {
	tr.Helper()
	lost := tr.fleet.AwaitDegraded(true)
	tr.fleet.Await("every broker has renewed every token", func() error {
		if total, _, _ := tr.sinceBefore(); total < len(tr.fleet.Brokers)*len(tr.fleet.Credentials) {
			return fmt.Errorf("the brokers made only %d token requests", total)
		}
		return nil
	})
	cold := tr.fleet.Burst(len(tr.fleet.Credentials), tr.fleet.AddBroker())
	if err := cold.Err(); err != nil {
		tr.Errorf("calls to a broker that was started without Redis failed: %v", err)
	}
	tr.Logf("all brokers reported the loss of Redis after %v; calls to a broker that started without Redis: %v", lost.Round(time.Millisecond), cold)
}

// recoveryLimit is the longest time that the brokers may take to work normally again.
const recoveryLimit = 5 * time.Second

// `recovered` checks how many token requests the failure caused, and how long the fleet took to
// recover. All brokers must serve the same tokens, and the fleet must renew each token once.
func (tr *trouble) recovered() {
	tr.Helper()
	back := tr.fleet.AwaitDegraded(false)
	agreed := tr.fleet.AwaitSameTokens()
	total, most, who := tr.sinceBefore()
	tr.Logf("%d token requests of %d brokers for %d credentials, at most %d of one for one; no broker is degraded after %v, all have the same tokens %v later",
		total, len(tr.fleet.Brokers), len(tr.fleet.Credentials), most, back.Round(time.Millisecond), agreed.Round(time.Millisecond))
	if most > 1 {
		tr.Errorf("%s made %d token requests, want 1 at most", who, most)
	}
	if back+agreed > recoveryLimit {
		tr.Errorf("the fleet recovered after %v, want %v at most", back+agreed, recoveryLimit)
	}
	tr.load.Stop()
	wantOneRenewal(tr.T, tr.fleet)
	asked, err := tr.watch()
	if err != nil {
		tr.Error(err)
	}
	tr.Logf("%v; %d times ready and healthy", tr.load, asked)
	if err := tr.load.Err(); err != nil {
		tr.Error(err)
	}
}

// wantOneRenewal checks that the fleet makes only one request for each token at the next renewal.
func wantOneRenewal(t *testing.T, fleet *fleettest.Fleet) {
	t.Helper()
	before, load := loadBeforeRenewals(fleet)
	fleet.AwaitTokenRequests(before + len(fleet.Credentials))
	load.AwaitAgreement(2)
	load.Stop()
	if got := fleet.Provider.TotalTokenRequests() - before; got != len(fleet.Credentials) {
		t.Errorf("%d token requests for the next renewals, want %d", got, len(fleet.Credentials))
	}
	if err := load.Err(); err != nil {
		t.Error(err)
	}
	t.Logf("calls during the next renewals: %v", load)
}

// loadBeforeRenewals starts callers, and returns when they have received all tokens, and no renewal
// has begun since the provider had received `requests` token requests. If renewals begin too early,
// other callers are started.
func loadBeforeRenewals(fleet *fleettest.Fleet) (requests int, load *fleettest.Load) {
	for {
		requests = fleet.Provider.TotalTokenRequests()
		load = fleet.StartLoad(fleettest.LoadOptions{})
		load.AwaitAgreement(1)
		if fleet.Provider.TotalTokenRequests() == requests {
			return requests, load
		}
		load.Stop()
	}
}

// wantLines checks that the log of each broker reports the loss and the return of Redis once.
func (tr *trouble) wantLines() {
	tr.Helper()
	for _, b := range tr.fleet.Brokers {
		if lost, back := b.LogLines(lostLine), b.LogLines(backLine); lost != 1 || back != 1 {
			tr.Errorf("%s logged %d times that Redis is unreachable and %d times that Redis is back, want once each", b.Name, lost, back)
		}
	}
}

func (tr *trouble) isAway(leave, comeBack func()) {
	tr.Helper()
	leave()
	tr.renewAlone()
	comeBack()
	tr.recovered()
	tr.wantLines()
}

func TestRedisIsKilled(t *testing.T) {
	t.Parallel()
	tr := newTrouble(t)
	tr.isAway(tr.redis.Kill, tr.redis.Restart)
}

func TestRedisHangs(t *testing.T) {
	t.Parallel()
	tr := newTrouble(t)
	tr.isAway(tr.redis.Stop, tr.redis.Continue)
}

// Redis restarts at once, without its data. No token request is needed, because the brokers store
// their tokens again.
func TestRedisLosesItsMemory(t *testing.T) {
	t.Parallel()
	tr := newTrouble(t)
	tr.redis.Restart()
	tr.fleet.Await("the tokens are in Redis again", func() error { return tr.wantKeys(len(tr.fleet.Credentials)) })
	if err := tr.fleet.Burst(len(tr.fleet.Credentials), tr.fleet.AddBroker()).Err(); err != nil {
		t.Errorf("calls to a broker that was started afterwards failed: %v", err)
	}
	if total, _, _ := tr.sinceBefore(); total > 0 {
		t.Errorf("%d token requests, want none", total)
	}
	tr.recovered()
	for _, b := range tr.fleet.Brokers {
		if lost, back := b.LogLines(lostLine), b.LogLines(backLine); lost > 1 || lost != back {
			t.Errorf("%s logged %d times that Redis is unreachable and %d times that Redis is back, want at most once each", b.Name, lost, back)
		}
	}
}

func (tr *trouble) wantKeys(n int) error {
	keys, err := tr.redis.Client().Keys(tr.Context(), "authmaterial:*:token").Result()
	if err == nil && len(keys) != n {
		err = fmt.Errorf("Redis has %d keys", len(keys))
	}
	return err
}
