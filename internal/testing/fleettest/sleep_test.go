package fleettest_test

import (
	"context"
	"testing"
	"time"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/fleettest"
	"github.com/authmaterial/broker/internal/testing/redistest"
)

// TestSleep lets the machine of two brokers sleep until their tokens have expired, also at the
// provider and in Redis. During the sleep the machine's clock is set back. After the sleep, a
// caller requests the first credential, and a stream that was opened before the sleep watches the
// second.
func TestSleep(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	f := fleettest.Start(t, fleettest.Options{
		Redis: map[string]any{"url": redis.URL()}, Brokers: 2, Credentials: 2, Lifetime: 20 * time.Minute,
	})
	asked, watched := f.Credentials[0], f.Credentials[1]
	ctx, cancel := context.WithTimeout(t.Context(), fleettest.Patience)
	defer cancel()
	next := follow(ctx, t, f.Brokers[0], watched)
	old := map[string]bool{next().GetVersion(): true, f.Ask(f.Brokers[0], 0, asked).Decoration.GetVersion(): true}
	if got := f.Ask(f.Brokers[1], 0, asked); !old[got.Decoration.GetVersion()] {
		t.Fatal("the brokers serve different tokens")
	}

	f.Provider.RevokeTokens()
	for _, b := range f.Brokers {
		b.Stop() // a broker that runs could read the token from Redis again, for which no time passes
		b.Sleep(25 * time.Minute)
		b.CorrectClock(-10 * time.Minute)
	}
	if err := redis.Client().FlushDB(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	for _, b := range f.Brokers {
		b.Continue()
	}

	check := func(b *fleettest.Broker, credential fleettest.Credential, d *authmaterialv1.AuthDecoration) {
		t.Helper()
		switch left := d.GetExpireTime().AsTime().Sub(b.WallTime()); {
		case old[d.GetVersion()], !f.Provider.Accepts(d, credential.Client):
			t.Errorf("%s serves a token that expired during the sleep", b.Name)
		case left <= 15*time.Minute || left > 20*time.Minute:
			t.Errorf("%s: the token expires in %v by the broker's clock, want almost 20m", b.Name, left)
		}
	}
	var versions []string
	for _, b := range f.Brokers {
		got := f.Ask(b, 0, asked)
		if got.Err != nil {
			t.Fatal(fleettest.Describe(got.Err))
		}
		check(b, asked, got.Decoration)
		versions = append(versions, got.Decoration.GetVersion())
	}
	if versions[0] != versions[1] {
		t.Error("after the sleep the brokers serve different tokens")
	}
	check(f.Brokers[0], watched, next())
	for _, c := range f.Credentials {
		if got := f.Provider.TokenRequests(c.Client.ID); got != 2 {
			t.Errorf("%s: %d token requests, want one before and one after the sleep", c.ID, got)
		}
	}
}

// TestClockSetBack sets back the clock of a broker, which was two hours fast. The brokers must
// continue to serve the token.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	f := fleettest.Start(t, fleettest.Options{
		Redis: map[string]any{"url": redis.URL()}, Brokers: 2, Credentials: 1, Lifetime: time.Hour,
	})
	fast := f.Brokers[0]
	fast.CorrectClock(2 * time.Hour)
	first := f.Ask(fast, 0, f.Credentials[0])
	fast.CorrectClock(-2 * time.Hour)
	for _, b := range f.Brokers {
		got := f.Ask(b, 0, f.Credentials[0])
		if got.Err != nil {
			t.Fatal(fleettest.Describe(got.Err))
		}
		if got.Decoration.GetVersion() != first.Decoration.GetVersion() {
			t.Errorf("%s does not serve the first token", b.Name)
		}
		if left := got.Decoration.GetExpireTime().AsTime().Sub(b.WallTime()); left <= 50*time.Minute || left > time.Hour {
			t.Errorf("%s: the token expires in %v by the broker's clock, want almost an hour", b.Name, left)
		}
	}
}

// `follow` watches a credential, and returns a function that waits for the next decoration.
func follow(ctx context.Context, t *testing.T, b *fleettest.Broker, credential fleettest.Credential) (next func() *authmaterialv1.AuthDecoration) {
	t.Helper()
	stream, err := b.Client(0).WatchAuthDecorations(ctx, &authmaterialv1.WatchAuthDecorationsRequest{CredentialIds: []string{credential.ID}})
	if err != nil {
		t.Fatal(err)
	}
	return func() *authmaterialv1.AuthDecoration {
		t.Helper()
		state, err := stream.Recv()
		if err != nil {
			t.Fatalf("the watch ended with the error %v", err)
		}
		if state.GetError() != nil {
			t.Fatalf("the watch sent the error %v", state.GetError().GetReason())
		}
		return state.GetAuthDecoration()
	}
}
