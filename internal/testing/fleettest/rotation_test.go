package fleettest_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// rotation is a fleet with traffic in which all credentials get new client secrets.
type rotation struct {
	*testing.T
	fleet   *fleettest.Fleet
	load    *fleettest.Load
	clients map[string]simulator.Client // clients with their new secrets, by credential
	end     []func()                    // each function revokes an old secret
	former  map[string]string           // for each credential, the version of the token for the old secret
	last    atomic.Pointer[time.Time]   // time when the last replica read the new secrets; nil before that time
}

// formerLimit is how long a replica may serve a token for the old secret after all replicas have
// read the new secret.
const formerLimit = time.Second

func (r *rotation) check(a fleettest.Answer) error {
	if err := r.fleet.Check(a); err != nil {
		return err
	}
	if last := r.last.Load(); last != nil && a.Began.Sub(*last) > formerLimit && a.Decoration.GetVersion() == r.former[a.Credential.ID] {
		return errors.New("the caller received the token of the old secret")
	}
	return nil
}

// noteFormer records the version of each decoration that the given brokers serve for the old
// secrets.
func (r *rotation) noteFormer(brokers []*fleettest.Broker) {
	r.Helper()
	answers := r.fleet.Burst(len(r.fleet.Credentials), brokers...)
	if err := answers.Err(); err != nil {
		r.Error(err)
	}
	for _, c := range r.fleet.Credentials {
		r.former[c.ID] = answers.Version(c.ID)
	}
}

// rotate gives the new secrets to a broker, and waits until it serves tokens for them.
func (r *rotation) rotate(b *fleettest.Broker) {
	r.Helper()
	for id, client := range r.clients {
		b.SetClient(id, client)
	}
	written := time.Now()
	again := r.fleet.Credentials[0].ID
	b.SetClient(again, r.clients[again]) // the broker may have read the other files before the time `written`
	r.fleet.Await(b.Name+" has read the secrets", func() error {
		loaded, err := b.Loaded()
		if err == nil && loaded.Before(written) {
			err = errors.New("it has not")
		}
		return err
	})
	if b == r.fleet.Brokers[len(r.fleet.Brokers)-1] {
		loaded, err := b.Loaded()
		if err != nil {
			r.Fatal(err)
		}
		r.last.Store(&loaded)
	}
	r.fleet.Await(b.Name+" serves the tokens of the new secrets", func() error {
		for _, c := range r.fleet.Credentials {
			answer := r.fleet.Ask(b, 0, c)
			if err := r.check(answer); err != nil {
				r.Errorf("a call to %s failed its check: %v", b.Name, err)
			}
			if answer.Decoration.GetVersion() == r.former[c.ID] {
				return fmt.Errorf("the broker still serves a token for the old secret of %s", c.ID)
			}
		}
		return nil
	})
}

// TestSecretIsRotated gives new secrets to half of the replicas before a renewal, and to the other
// replicas after the renewal. Until all replicas have the new secrets, the provider accepts the old
// and the new ones.
func TestSecretIsRotated(t *testing.T) {
	t.Parallel()
	r := &rotation{T: t, clients: map[string]simulator.Client{}, former: map[string]string{}}
	r.fleet = fleettest.Start(t, fleettest.Options{Redis: oneRedis(redistest.Start(t))})
	brokers, n := r.fleet.Brokers, len(r.fleet.Credentials)
	warm(t, r.fleet)
	r.load = r.fleet.StartLoad(fleettest.LoadOptions{Check: r.check})
	for _, c := range r.fleet.Credentials {
		client, end := r.fleet.Provider.RotateSecret(c.Client.ID)
		r.clients[c.ID] = client
		r.end = append(r.end, end)
	}
	r.noteFormer(brokers)
	for _, b := range brokers[:len(brokers)/2] {
		r.rotate(b)
	}
	// The fleet makes one token request for each of the two secrets, and one at each renewal.
	wantRequests(t, r.fleet, 2)
	r.fleet.AwaitTokenRequests(4 * n)
	r.noteFormer(brokers[len(brokers)/2:])
	for _, b := range brokers[len(brokers)/2:] {
		r.rotate(b)
	}
	wantRequests(t, r.fleet, 4)
	r.fleet.Await("a second has passed", func() error {
		if since := time.Since(*r.last.Load()); since <= formerLimit {
			return fmt.Errorf("it is %v", since)
		}
		return nil
	})
	for _, end := range r.end {
		end()
	}
	burst := r.fleet.Burst(2*n, brokers...)
	r.load.Stop()
	wantRequests(t, r.fleet, 4)
	if err := errors.Join(burst.Err(), r.load.Err()); err != nil {
		t.Error(err)
	}
	t.Logf("4 token requests for each credential: 2 secrets and 1 renewal; %v", r.load)
}
