package broker_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/authmaterial/broker/brokertest/simulator"
	"github.com/authmaterial/broker/internal/broker"
	"github.com/authmaterial/broker/internal/credentials"
)

// warmMail returns the credential `mail`, which is kept warm.
func warmMail(client simulator.Client) string { return "{keep_warm: true, " + mail(client)[1:] }

// keepingWarm runs a test while the broker keeps tokens warm.
func keepingWarm(t *testing.T, test func(w *world)) {
	t.Helper()
	inWorld(t, func(w *world) {
		ctx, stop := context.WithCancel(w.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.broker.KeepWarm(ctx) }()
		test(w)
		stop()
		<-ended
	})
}

// wantWarm checks for the given time that the token of a credential never expires, and returns the
// number of tokens.
func (w *world) wantWarm(id string, d time.Duration) (tokens int) {
	w.Helper()
	obtained := time.Time{}
	for end := time.Now().Add(d); time.Now().Before(end); w.pass(time.Second) {
		status, _ := w.broker.Status(id)
		if !time.Now().Before(status.Active.ExpireTime) || status.State != broker.Ready {
			w.Fatalf("the state is %s, and the token expires at %v", status.State, status.Active.ExpireTime)
		}
		if status.Active.RenewTime.IsZero() {
			w.Fatal("the time of the next renewal is unknown")
		}
		if at := status.Active.ObtainTime; !at.Equal(obtained) {
			tokens, obtained = tokens+1, at
		}
	}
	return tokens
}

// warmUp is a time within which KeepWarm looks at every credential.
const warmUp = 31 * time.Second

func TestTokensAreKeptWarmForADayWithoutCallers(t *testing.T) {
	keepingWarm(t, func(w *world) {
		w.pass(time.Hour)
		w.wantRequests(0)
		w.use(warmMail(w.first), board("first"))
		w.pass(warmUp)
		tokens := w.wantWarm("mail", 24*time.Hour)
		if tokens < 26 || tokens > 28 {
			t.Errorf("%d tokens in a day, want one each 54 or 55 minutes", tokens)
		}
		w.wantRequests(tokens)
		w.use(mail(w.first), board("first"))
		w.pass(3 * time.Hour)
		w.wantRequests(tokens)
	})
}

func TestManagedTokensAreKeptWarm(t *testing.T) {
	keepingWarm(t, func(w *world) {
		cold := pair(1, w.first)
		warm := *cold.Credential
		warm.KeepWarm = true
		w.broker.Manage([]*credentials.Credential{cold.Credential}, nil)
		w.pass(time.Hour)
		w.wantRequests(0)
		w.broker.Manage([]*credentials.Credential{&warm}, nil)
		w.pass(warmUp)
		tokens := w.wantWarm("one", 3*time.Hour)
		w.wantRequests(tokens)

		disabled := warm
		disabled.Disabled = true
		w.broker.Manage([]*credentials.Credential{&disabled}, nil)
		w.pass(3 * time.Hour)
		w.wantRequests(tokens)

		w.broker.Manage([]*credentials.Credential{&warm}, nil)
		w.pass(warmUp)
		w.wantWarm("one", time.Minute)
		w.broker.Manage(nil, []string{"one"})
		w.pass(3 * time.Hour)
		w.wantRequests(tokens + 1)
		if n := cold.opened.Load(); n != 2 {
			t.Errorf("the values were decrypted %d times, want twice: once each time that the credential was enabled", n)
		}
	})
}

func TestShortLivedTokensAreKeptWarm(t *testing.T) {
	keepingWarm(t, func(w *world) {
		w.sim.SendPulse.SetTokenLifetime(2 * time.Minute)
		w.use(warmMail(w.first))
		w.pass(warmUp)
		w.wantRequests(w.wantWarm("mail", time.Hour))
	})
}

// TestTokensAreRequestedSpreadOverTime starts a broker with many credentials.
func TestTokensAreRequestedSpreadOverTime(t *testing.T) {
	keepingWarm(t, func(w *world) {
		var all []*credentials.Credential
		for i := range 300 {
			next := *pair(1, w.sim.SendPulse.AddClient(simulator.Client{})).Credential
			next.ID, next.KeepWarm = "many-"+string(rune('a'+i/26))+string(rune('a'+i%26)), true
			all = append(all, &next)
		}
		w.broker.Manage(all, nil)
		before := 0
		for range 31 {
			w.pass(time.Second)
			if now := w.sim.SendPulse.TotalTokenRequests(); now-before > 40 {
				t.Errorf("%d token requests in a second", now-before)
			} else {
				before = now
			}
		}
		w.wantRequests(300)
	})
}

func TestWarmthWaitsAfterFailures(t *testing.T) {
	keepingWarm(t, func(w *world) {
		w.sim.SendPulse.FailTokenRequests(simulator.CloseConnection())
		w.use(warmMail(w.first))
		w.pass(10 * time.Minute)
		if n := w.sim.SendPulse.TotalTokenRequests(); n < 5 || n > 21 { // at most one in each half minute, and one at the start
			t.Errorf("%d token requests in 10 minutes", n)
		}
		w.sim.SendPulse.RestoreTokenRequests()
		w.pass(2 * time.Minute)
		w.wantWarm("mail", time.Hour)

		w.use(warmMail(w.refused()), board("first"))
		before := w.sim.SendPulse.TotalTokenRequests()
		w.pass(time.Hour)
		if n := w.sim.SendPulse.TotalTokenRequests() - before; n < 4 || n > 10 {
			t.Errorf("%d token requests in an hour after the provider refused the credential", n)
		}
		status, _ := w.broker.Status("mail")
		if status.State != broker.Refused || status.Active.LastAttempt.Status != http.StatusUnauthorized {
			t.Errorf("the status is %+v", status)
		}
	})
}
