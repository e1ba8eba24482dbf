package fleettest_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authmaterialv1 "github.com/authmaterial/broker/gen/authmaterial/v1"
	"github.com/authmaterial/broker/internal/testing/fleettest"
)

const (
	// failLimit is the longest time after which a change fails while PostgreSQL does not answer.
	failLimit = 12 * time.Second
	// storeRecovery is the longest time until changes work again, and all brokers serve them within
	// a second, after PostgreSQL has come back.
	storeRecovery = 10 * time.Second
)

func TestStoreIsKilled(t *testing.T) {
	t.Parallel()
	m := newManaged(t)
	for range stress(1, 10) {
		m.outage(m.postgres.Kill, m.postgres.Restart)
	}
	m.ended()
}

func TestStoreHangs(t *testing.T) {
	t.Parallel()
	m := newManaged(t)
	for range stress(1, 5) {
		m.outage(m.postgres.Stop, m.postgres.Continue)
	}
	m.ended()
}

// outage makes PostgreSQL unavailable for a time. During this time changes must fail, but callers
// must get all decorations.
func (m *managed) outage(leave, comeBack func()) {
	m.Helper()
	leave()
	var changes sync.WaitGroup
	for n, b := range m.fleet.Brokers {
		changes.Go(func() { m.wantStoreUnavailable(b, m.credentials[n].ID) })
	}
	changes.Wait()
	calls := m.load.Calls()
	m.fleet.Await("callers make calls during the outage", func() error {
		if made := m.load.Calls() - calls; made < 500 {
			return fmt.Errorf("callers have made %d calls", made)
		}
		return nil
	})
	comeBack()
	began := time.Now()
	m.fleet.Await("every broker can make changes", func() error {
		for n, b := range m.fleet.Brokers {
			found, err := b.Manager(0).GetCredential(m.Context(), &authmaterialv1.GetCredentialRequest{CredentialId: m.credentials[n].ID})
			if err != nil {
				return err
			}
			if err := m.update(b, m.credentials[n].ID, found.GetCredential().GetEtag(), "after the outage"); err != nil {
				return err
			}
		}
		return nil
	})
	again, slow := time.Since(began), true
	for n := 0; slow && time.Since(began) < fleettest.Patience; n++ {
		slow = false
		for _, delay := range m.rotate(n) {
			slow = slow || delay > time.Second
		}
	}
	recovered := time.Since(began)
	m.Logf("changes work again after %v, and all brokers serve them within a second after %v", again.Round(time.Millisecond), recovered.Round(time.Millisecond))
	if recovered > storeRecovery {
		m.Errorf("the brokers recovered after %v, want %v at most", recovered, storeRecovery)
	}
}

// wantStoreUnavailable checks that a change fails because the store is unavailable, and that
// reading succeeds.
func (m *managed) wantStoreUnavailable(b *fleettest.Broker, id string) {
	m.Helper()
	found, err := b.Manager(0).GetCredential(m.Context(), &authmaterialv1.GetCredentialRequest{CredentialId: id})
	if err != nil {
		m.Errorf("%s: reading a credential failed: %v", b.Name, err)
		return
	}
	began := time.Now()
	failure := status.Convert(m.update(b, id, found.GetCredential().GetEtag(), "during the outage"))
	if took := time.Since(began); took > failLimit {
		m.Errorf("%s: a change failed after %v, want %v at most", b.Name, took, failLimit)
	}
	retry := false
	for _, detail := range failure.Details() {
		info, ok := detail.(*errdetails.RetryInfo)
		retry = retry || ok && info.GetRetryDelay().AsDuration() > 0
	}
	if failure.Code() != codes.Unavailable || reasonOf(failure.Err()) != "STORE_UNAVAILABLE" || !retry || !strings.Contains(failure.Message(), "store") {
		m.Errorf("%s: the error of a change is %v, and whether it contains a retry delay: %v", b.Name, failure, retry)
	}
}

// A broker that starts while PostgreSQL is unavailable serves the declared credentials, but is not
// ready until it has read the managed ones.
func TestStoreIsDownAtTheStart(t *testing.T) {
	t.Parallel()
	m := newManaged(t)
	m.postgres.Kill()
	began := time.Now()
	late := m.fleet.AddBroker()
	t.Logf("the broker serves calls after %v", time.Since(began).Round(time.Millisecond))
	if answer := m.fleet.Ask(late, 0, m.fleet.Credentials[0]); m.fleet.Check(answer) != nil {
		t.Errorf("a call for a declared credential failed: %v", answer.Err)
	}
	for _, id := range []string{m.credentials[0].ID, "no-such-credential"} {
		answer := m.fleet.Ask(late, 0, fleettest.Credential{ID: id})
		if status.Code(answer.Err) != codes.Unavailable || reasonOf(answer.Err) != "STORE_UNAVAILABLE" {
			t.Errorf("%s: %v", id, answer.Err)
		}
	}
	if _, err := late.Ready(); err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "store") {
		t.Errorf("/readyz: %v", err)
	}
	m.postgres.Restart()
	took := m.fleet.Await("the broker is ready", func() error {
		_, err := late.Ready()
		return err
	})
	t.Logf("the broker is ready %v after PostgreSQL has come back", took.Round(time.Millisecond))
	if took > storeRecovery {
		t.Errorf("the broker became ready after %v, want %v at most", took, storeRecovery)
	}
	if err := m.check(m.fleet.Ask(late, 0, m.credentials[0])); err != nil {
		t.Errorf("a call for a managed credential failed: %v", err)
	}
	if err := m.check(m.fleet.Ask(late, 0, fleettest.Credential{ID: "no-such-credential"})); err == nil || !strings.Contains(err.Error(), "CREDENTIAL_NOT_FOUND") {
		t.Errorf("the error of a call for a missing credential is %v", err)
	}
	m.ended()
}
