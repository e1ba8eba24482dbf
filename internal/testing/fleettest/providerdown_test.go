package fleettest_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

const tokenLife = 20 * time.Second

// downtime is a fleet with traffic whose provider is down.
type downtime struct {
	fleet *fleettest.Fleet
	began time.Time // time shortly before the first token request
	// `answering` is the longest time that the simulated provider took to answer a token request. A
	// broker that gets no other token counts the lifetime of its token from the answer, so it may
	// serve the token for up to this time after its end.
	answering time.Duration

	mu      sync.Mutex
	told    map[*fleettest.Broker]map[string]bool // for each broker, the credentials for which callers received an error
	first   time.Time                             // time of the first error that a caller received
	longest time.Duration                         // longest retry delay in the errors that callers received
}

// check returns an error for an answer that is not allowed. The provider must accept each token.
// Calls may fail only after the tokens have expired, or slightly earlier, because reading a token
// from Redis takes time. A failed call must contain a retry delay.
func (d *downtime) check(a fleettest.Answer) error {
	if a.Err == nil {
		return d.checkToken(a)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	fault, at := fleettest.FaultOf(a.Err), a.Began.Add(a.Took)
	if at.Sub(d.began) < tokenLife-reading {
		return fmt.Errorf("the call failed while the token was valid: %s", fleettest.Describe(a.Err))
	}
	if fault.Code != codes.Unavailable || fault.Reason != "PROVIDER_UNAVAILABLE" || fault.RetryDelay <= 0 {
		return fmt.Errorf("the caller received the error %s with the retry delay %v", fleettest.Describe(a.Err), fault.RetryDelay)
	}
	if d.told[a.Broker] == nil {
		d.told[a.Broker] = map[string]bool{}
	}
	d.told[a.Broker][a.Credential.ID] = true
	if d.first.IsZero() {
		d.first = at
	}
	d.longest = max(d.longest, fault.RetryDelay)
	return nil
}

func (d *downtime) checkToken(a fleettest.Answer) error {
	token, ok := d.fleet.Provider.Token(a.Decoration)
	switch {
	case !ok || token.ClientID != a.Credential.Client.ID:
		return errors.New("the caller received a decoration without a token of the credential's client")
	case !token.EndTime.Add(d.answering).After(a.Began):
		return errors.New("the caller received a token that had expired")
	default:
		return nil
	}
}

func (d *downtime) awaitNoToken() {
	d.fleet.Await("no broker has a token", func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, b := range d.fleet.Brokers {
			if n := len(d.told[b]); n < len(d.fleet.Credentials) {
				return fmt.Errorf("%s has returned errors for only %d credentials", b.Name, n)
			}
		}
		return nil
	})
}

// `reading` is the longest time that reading from Redis may take. A broker that reads another
// broker's token or failure may consider it expired too early, by up to this time.
const reading = 250 * time.Millisecond

// mostRequests returns the highest number of token requests that one replica makes within a given
// time if all of them fail. The replica waits for a second after the first request, and twice as
// long after each further request, up to a limit.
func mostRequests(within time.Duration) int {
	count, wait := 1, time.Second
	for next := wait - reading; next <= within; next += wait - reading {
		count++
		wait = min(2*wait, longestBackoff)
	}
	return count
}

// The provider fails from some time before the renewal until the tokens have expired.
func TestProviderIsDown(t *testing.T) {
	t.Parallel()
	d := &downtime{told: map[*fleettest.Broker]map[string]bool{}}
	d.fleet = fleettest.Start(t, fleettest.Options{Redis: oneRedis(redistest.Start(t))})
	d.began = time.Now()
	first := d.fleet.Burst(len(d.fleet.Credentials), d.fleet.Brokers[0])
	if err := first.Err(); err != nil {
		t.Fatal(err)
	}
	d.answering = first.Wait(1) // the calls waited for the answers
	d.fleet.AwaitSameTokens()
	d.fleet.Provider.FailTokenRequests(simulator.CloseConnection())
	load := d.fleet.StartLoad(fleettest.LoadOptions{Check: d.check})
	d.fleet.AwaitTokenRequests(len(d.fleet.Credentials) + 1)
	renewal := time.Now()
	d.awaitNoToken()
	d.wantFewRequests(t, time.Since(renewal))
	d.fleet.Provider.RestoreTokenRequests()
	d.recovered(t)
	load.Stop()
	if err := load.Err(); err != nil {
		t.Error(err)
	}
	t.Logf("%v; the first call failed %v after the fleet began", load, d.first.Sub(d.began).Round(time.Millisecond))
}

// wantFewRequests checks that since the first failure the fleet made no more token requests for
// each credential than a single replica would.
func (d *downtime) wantFewRequests(t *testing.T, since time.Duration) {
	t.Helper()
	limit, most := mostRequests(since), 0
	for _, c := range d.fleet.Credentials {
		failed := d.fleet.Provider.TokenRequests(c.Client.ID) - 1
		if most = max(most, failed); failed > limit {
			t.Errorf("%s: %d token requests while the provider was down for %v, want %d at most", c.ID, failed, since, limit)
		}
	}
	t.Logf("the provider was down for %v since the first renewal failed: at most %d token requests of a credential, and one replica would make %d at most",
		since.Round(time.Millisecond), most, limit)
}

// `recovered` checks that each credential has a token again after the retry delay of the errors, by
// at most one token request of the fleet.
func (d *downtime) recovered(t *testing.T) {
	t.Helper()
	restored, before := time.Now(), d.fleet.Provider.TotalTokenRequests()
	d.fleet.Await("every broker has a token of every credential", func() error {
		return d.fleet.Burst(len(d.fleet.Credentials), d.fleet.Brokers...).Err()
	})
	took := time.Since(restored)
	d.fleet.AwaitSameTokens()
	d.mu.Lock()
	step := d.longest
	d.mu.Unlock()
	if took > step+time.Second {
		t.Errorf("the fleet has tokens again %v after the provider works again, want at most a second more than the retry delay %v", took, step)
	}
	if got := d.fleet.Provider.TotalTokenRequests() - before; got > len(d.fleet.Credentials) {
		t.Errorf("%d token requests since the provider works again, want %d at most", got, len(d.fleet.Credentials))
	}
	t.Logf("all brokers have all tokens %v after the provider is back; the longest retry delay for callers was %v",
		took.Round(time.Millisecond), step.Round(time.Millisecond))
}
